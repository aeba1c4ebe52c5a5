//! Compiles the contract for crates/contract: messages and, by its features, stubs for tonic; the descriptor set that reflection and access control read, and the
//! field validation that the `buf.validate` options declare. Pure Rust; no protoc.

use std::{env, error::Error, fs, path::PathBuf};

use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor, Value,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const PACKAGE: &str = "jeton.v1";

fn main() -> Result<()> {
    // The build script of crates/contract: that is where it runs.
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../..");
    let [proto, third_party] = ["proto", "third_party"].map(|folder| root.join(folder));
    println!("cargo:rerun-if-changed={}", proto.display());
    println!("cargo:rerun-if-changed={}", third_party.display());
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let mut files: Vec<PathBuf> =
        fs::read_dir(proto.join("jeton/v1"))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    let mut compiler = protox::Compiler::new([&proto, &third_party])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(&files)?;

    // The encoded form keeps custom options; the decoded prost types would lose them.
    let encoded = compiler.encode_file_descriptor_set();
    fs::write(out.join("descriptors.binpb"), &encoded)?;

    let mut contract = compiler.file_descriptor_set();
    contract.file.retain(|file| matches!(file.package(), PACKAGE | "google.protobuf"));
    let mut config = prost_build::Config::new();
    // Ordered maps: a request that is repeated must encode, and so digest, the same.
    config.btree_map(["."]);
    // Messages alone want nothing of gRPC.
    let feature = |name| env::var_os(format!("CARGO_FEATURE_{name}")).is_some();
    tonic_prost_build::configure()
        .build_client(feature("CLIENT"))
        .build_server(feature("SERVER"))
        .build_transport(feature("TRANSPORT"))
        .compile_fds_with_config(contract, config)?;

    let pool = DescriptorPool::decode(encoded.as_slice())?;
    fs::write(out.join("validation.rs"), validation(&pool)?)?;
    Ok(())
}

/// One `impl Validate` per message of the contract.
fn validation(pool: &DescriptorPool) -> Result<String> {
    let rules = Rules::find(pool)?;
    let mut code = String::new();
    for message in pool.all_messages() {
        if message.package_name() == PACKAGE && !message.is_map_entry() {
            rules.message(&message, &mut code)?;
        }
    }
    Ok(code)
}

/// The extensions of `buf/validate/validate.proto` that carry rules.
struct Rules {
    field: ExtensionDescriptor,
    oneof: ExtensionDescriptor,
}

impl Rules {
    fn find(pool: &DescriptorPool) -> Result<Self> {
        let extension = |name: &str| pool.get_extension_by_name(name).ok_or(format!("{name} is not in third_party"));
        Ok(Self { field: extension("buf.validate.field")?, oneof: extension("buf.validate.oneof")? })
    }

    fn message(&self, message: &MessageDescriptor, code: &mut String) -> Result<()> {
        let mut body = String::new();
        for field in message.fields() {
            self.field(&field, &mut body).map_err(|error| format!("{}: {error}", field.full_name()))?;
        }
        for oneof in message.oneofs() {
            let options = oneof.options();
            let rule = options.get_extension(&self.oneof);
            let required = rule
                .as_message()
                .and_then(|rule| rule.get_field_by_name("required"))
                .is_some_and(|value| value.as_bool() == Some(true));
            if required {
                let name = oneof.name();
                body += &format!("v.required({name:?}, self.{name}.is_some());\n");
            }
        }
        let signature = if body.is_empty() { "_" } else { "v" };
        *code += &format!(
            "impl crate::validate::Validate for {} {{\nfn validate(&self, {signature}: &mut crate::validate::Violations) {{\n{body}}}\n}}\n",
            rust_path(message)
        );
        Ok(())
    }

    fn field(&self, field: &FieldDescriptor, body: &mut String) -> Result<()> {
        let options = field.options();
        let extension = options.get_extension(&self.field);
        let rules = extension.as_message().ok_or("rules are not a message")?;
        let name = field.name();

        let value = if matches!(name, "type" | "use") { format!("r#{name}") } else { name.to_owned() };
        if flag(rules, "required") {
            *body += &format!("v.required({name:?}, self.{value}.is_some());\n");
        }
        let mut checks = String::new();
        if field.is_map() {
            self.map(rules, name, &mut checks)?;
        } else if field.cardinality() == Cardinality::Repeated {
            self.list(field, rules, name, &mut checks)?;
        } else {
            let skips_zero = rules.get_field_by_name("ignore").and_then(|value| value.as_enum_number()) == Some(1);
            let check = single(&field.kind(), rules, name)?;
            if skips_zero && !check.is_empty() {
                checks = format!("if !value.is_empty() {{ {check} }}\n");
            } else {
                checks = check;
            }
        }
        if checks.is_empty() {
            return Ok(());
        }
        let in_oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
        *body += &match in_oneof {
            Some(oneof) => format!(
                "if let Some({}::{}::{}(value)) = &self.{} {{ {checks} }}\n",
                module_path(field.parent_message()),
                pascal(oneof.name()),
                pascal(name),
                oneof.name()
            ),
            None if field.supports_presence() => {
                format!("if let Some(value) = &self.{value} {{ {checks} }}\n")
            }
            None => format!("{{ let value = &self.{value}; {checks} }}\n"),
        };
        Ok(())
    }

    fn list(&self, field: &FieldDescriptor, rules: &DynamicMessage, name: &str, checks: &mut String) -> Result<()> {
        if let Some(list) = sub(rules, "repeated") {
            known(&list, &["min_items", "max_items", "unique", "items"])?;
            if let Some(min) = number(&list, "min_items") {
                *checks += &format!("v.min_items({name:?}, value.len(), {min});\n");
            }
            if let Some(max) = number(&list, "max_items") {
                *checks += &format!("if v.max_items({name:?}, value.len(), {max}) {{\n");
            } else {
                *checks += "{\n";
            }
            if flag(&list, "unique") {
                *checks += &format!("v.unique({name:?}, value);\n");
            }
            if let Some(items) = sub(&list, "items") {
                let check = single(&field.kind(), &items, "")?;
                *checks += &format!(
                    "for (i, value) in value.iter().enumerate() {{ v.item({name:?}, i, |v| {{ {check} }}); }}\n"
                );
            }
            *checks += &messages(field, name);
            *checks += "}\n";
        } else {
            *checks += &messages(field, name);
        }
        Ok(())
    }

    fn map(&self, rules: &DynamicMessage, name: &str, checks: &mut String) -> Result<()> {
        let Some(map) = sub(rules, "map") else {
            return Ok(());
        };
        known(&map, &["max_pairs", "keys", "values"])?;
        if let Some(max) = number(&map, "max_pairs") {
            *checks += &format!("v.max_items({name:?}, value.len(), {max});\n");
        }
        let keys = sub(&map, "keys").map_or(Ok(String::new()), |keys| single(&Kind::String, &keys, ""))?;
        let values = sub(&map, "values").map_or(Ok(String::new()), |values| single(&Kind::String, &values, ""))?;
        *checks += &format!(
            "for (key, value) in value {{ v.key({name:?}, key, |v| {{ {{ let value = key; {keys} }} {values} }}); }}\n"
        );
        Ok(())
    }
}

/// The checks of a list's items by their own rules, if they are messages of the contract.
fn messages(field: &FieldDescriptor, name: &str) -> String {
    if nested(&field.kind()).is_none_or(|message| message.package_name() != PACKAGE) {
        return String::new();
    }
    format!(
        "for (i, value) in value.iter().enumerate() {{ v.item({name:?}, i, |v| crate::validate::Validate::validate(value, v)); }}\n"
    )
}

/// The checks of one value that stands in `value`.
fn single(kind: &Kind, rules: &DynamicMessage, name: &str) -> Result<String> {
    if let Some(message) = nested(kind) {
        return Ok(if message.package_name() == PACKAGE {
            format!("v.nested({name:?}, value);\n")
        } else if let Some(duration) = sub(rules, "duration") {
            known(&duration, &["gte", "lte"])?;
            format!("v.duration({name:?}, value, {:?}, {:?});\n", seconds(&duration, "gte"), seconds(&duration, "lte"))
        } else {
            String::new()
        });
    }
    let mut checks = String::new();
    if let Some(string) = sub(rules, "string") {
        known(&string, &["min_len", "max_len", "pattern", "uuid", "email"])?;
        if let Some(min) = number(&string, "min_len") {
            checks += &format!("v.min_len({name:?}, value, {min});\n");
        }
        if let Some(max) = number(&string, "max_len") {
            checks += &format!("v.max_len({name:?}, value, {max});\n");
        }
        if flag(&string, "uuid") {
            checks += &format!("v.uuid({name:?}, value);\n");
        }
        if flag(&string, "email") {
            checks += &format!("v.email({name:?}, value);\n");
        }
        if let Some(pattern) = string.get_field_by_name("pattern")
            && let Some(pattern) = pattern.as_str()
            && !pattern.is_empty()
        {
            let (table, min, max) = compile_pattern(pattern)?;
            checks += &format!(
                "{{ const PATTERN: crate::validate::Pattern = crate::validate::Pattern {{ allowed: {table:?}, min: {min}, max: {max}, text: {pattern:?} }}; v.pattern({name:?}, value, &PATTERN); }}\n"
            );
        }
    }
    if let Some(number_rules) = sub(rules, "int32") {
        known(&number_rules, &["gte"])?;
        let min = number_rules.get_field_by_name("gte").and_then(|value| value.as_i32()).unwrap_or(0);
        checks += &format!("v.at_least({name:?}, *value, {min});\n");
    }
    if let Some(rule) = sub(rules, "bool") {
        known(&rule, &["const"])?;
        if flag(&rule, "const") {
            checks += &format!("v.is_true({name:?}, *value);\n");
        }
    }
    if let (Some(rule), Kind::Enum(descriptor)) = (sub(rules, "enum"), kind) {
        known(&rule, &["defined_only", "not_in"])?;
        let refused: Vec<i32> = rule
            .get_field_by_name("not_in")
            .and_then(|value| value.as_list().map(|list| list.iter().filter_map(Value::as_i32).collect()))
            .unwrap_or_default();
        let allowed: Vec<i32> =
            descriptor.values().map(|value| value.number()).filter(|number| !refused.contains(number)).collect();
        checks += &format!("v.one_of({name:?}, *value, &{allowed:?});\n");
    }
    Ok(checks)
}

/// `^[class]{min,max}$` as a bit set of ASCII bytes. Nothing else is supported: a table look-up is all that the hot path
/// should pay.
fn compile_pattern(pattern: &str) -> Result<([u64; 2], u32, u32)> {
    let unsupported = || format!("pattern {pattern:?} is not of the form ^[class]{{min,max}}$");
    let inner = pattern.strip_prefix("^[").and_then(|rest| rest.strip_suffix("}$")).ok_or_else(unsupported)?;
    let (class, counts) = inner.rsplit_once("]{").ok_or_else(unsupported)?;
    if class.replace(r"\]", "").contains(']') {
        return Err(unsupported().into());
    }
    let (min, max) = counts.split_once(',').unwrap_or((counts, counts));
    let mut table = [0_u64; 2];
    let mut bytes = class.bytes().peekable();
    let literal = |bytes: &mut std::iter::Peekable<std::str::Bytes<'_>>| match bytes.next() {
        Some(b'\\') => bytes.next(),
        other => other,
    };
    while let Some(first) = literal(&mut bytes) {
        let mut last = first;
        if bytes.peek() == Some(&b'-') {
            bytes.next();
            match literal(&mut bytes) {
                Some(end) => last = end,
                // At the end it stands for itself; it is among the first 64 bytes.
                None => table[0] |= 1 << b'-',
            }
        }
        for byte in first..=last {
            *table.get_mut(usize::from(byte) / 64).ok_or_else(unsupported)? |= 1 << (byte % 64);
        }
    }
    Ok((table, min.parse()?, max.parse()?))
}

fn nested(kind: &Kind) -> Option<&MessageDescriptor> {
    if let Kind::Message(message) = kind { Some(message) } else { None }
}

fn sub(rules: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    if !rules.has_field_by_name(name) {
        return None;
    }
    rules.get_field_by_name(name)?.as_message().cloned()
}

fn flag(rules: &DynamicMessage, name: &str) -> bool {
    rules.get_field_by_name(name).is_some_and(|value| value.as_bool() == Some(true))
}

fn number(rules: &DynamicMessage, name: &str) -> Option<u64> {
    if !rules.has_field_by_name(name) {
        return None;
    }
    rules.get_field_by_name(name)?.as_u64()
}

fn seconds(rules: &DynamicMessage, name: &str) -> Option<i64> {
    let bound = sub(rules, name)?;
    bound.get_field_by_name("seconds")?.as_i64()
}

/// Refuses rules that would be shown but not enforced.
fn known(rules: &DynamicMessage, supported: &[&str]) -> Result<()> {
    for (field, _) in rules.fields() {
        if !supported.contains(&field.name()) {
            return Err(format!("rule {} is not supported", field.name()).into());
        }
    }
    Ok(())
}

/// `Outer.Inner` as prost names it: `outer::Inner`.
fn rust_path(message: &MessageDescriptor) -> String {
    match message.parent_message() {
        Some(parent) => format!("{}::{}", module_path(&parent), message.name()),
        None => message.name().to_owned(),
    }
}

fn module_path(message: &MessageDescriptor) -> String {
    let own = snake(message.name());
    match message.parent_message() {
        Some(parent) => format!("{}::{own}", module_path(&parent)),
        None => own,
    }
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.chars().enumerate() {
        if c.is_ascii_uppercase() && i > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn pascal(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let (head, tail) = word.split_at(1);
            head.to_ascii_uppercase() + tail
        })
        .collect()
}
