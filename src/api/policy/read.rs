//! Reads the methods and their rules from the contract's descriptors.

use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, MessageDescriptor, MethodDescriptor, Value,
    prost_types::method_options::IdempotencyLevel,
};

use super::method::{Flow, Lane, MAX_BATCH_BYTES, MAX_MESSAGE_BYTES, Method};
use crate::directory::permit::{Access, Rule};

const PACKAGE: &str = "jeton.v1";

/// A oneof whose members declare one by one who may use them.
struct Choice {
    /// Of the method.
    path: &'static str,
    request: &'static str,
    oneof: &'static str,
    option: &'static str,
}

const CHOICES: [Choice; 2] = [
    Choice {
        path: "/jeton.v1.TokenService/IssueToken",
        request: "jeton.v1.IssueTokenRequest",
        oneof: "grant",
        option: "grant_access",
    },
    Choice {
        path: "/jeton.v1.TokenService/RevokeToken",
        request: "jeton.v1.RevokeTokenRequest",
        oneof: "target",
        option: "target_access",
    },
];

const REVOCATIONS: [&str; 3] = [
    "/jeton.v1.TokenService/RevokeToken",
    "/jeton.v1.TokenService/InvalidateTokens",
    "/jeton.v1.TokenService/RevokeAllTokens",
];

const FOREIGN: [(&str, Flow); 4] = [
    ("/grpc.health.v1.Health/Check", Flow::Unary),
    ("/grpc.health.v1.Health/Watch", Flow::ServerStream),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Flow::BidiStream),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Flow::BidiStream),
];

const BATCH: (&str, usize) = ("/jeton.v1.TokenService/BatchIntrospectTokens", MAX_BATCH_BYTES);

/// All methods with their rules. What is wrong with the contract is added to `faults`.
pub(super) fn methods(pool: &DescriptorPool, faults: &mut Vec<String>) -> Vec<Method> {
    let mut methods = read_methods(pool, faults);
    for choice in &CHOICES {
        let rules = read_choices(pool, choice, faults);
        if let Some(method) = methods.iter_mut().find(|method| method.path == choice.path) {
            method.choices = rules;
        }
    }
    methods
}

fn read_methods(pool: &DescriptorPool, faults: &mut Vec<String>) -> Vec<Method> {
    let mut methods: Vec<Method> = FOREIGN.into_iter().map(|(path, flow)| foreign(path, flow)).collect();
    let Some(extension) = extension(pool, "access", faults) else {
        return methods;
    };
    let services = pool.services().filter(|service| service.package_name() == PACKAGE);
    for method in services.flat_map(|service| service.methods().collect::<Vec<_>>()) {
        match read_rule(&method.options(), &extension, &method.input()) {
            Ok(rule) => methods.push(ours(&method, rule)),
            Err(fault) => faults.push(format!("method {} {fault}", method.full_name())),
        }
    }
    // The lists above name methods by hand; a renamed method must not lose its lane or limit unnoticed.
    for path in REVOCATIONS.into_iter().chain([BATCH.0]).chain(CHOICES.iter().map(|choice| choice.path)) {
        if faults.is_empty() && !methods.iter().any(|method| method.path == path) {
            faults.push(format!("method {path} is not in the contract"));
        }
    }
    methods
}

fn read_choices(pool: &DescriptorPool, choice: &Choice, faults: &mut Vec<String>) -> Vec<(String, Rule)> {
    let Choice { request: name, oneof, option, .. } = choice;
    let Some(extension) = extension(pool, option, faults) else {
        return Vec::new();
    };
    let request = pool.get_message_by_name(name);
    let found = request.as_ref().and_then(|request| request.oneofs().find(|found| found.name() == *oneof));
    let (Some(request), Some(found)) = (&request, &found) else {
        faults.push(format!("{name}.{oneof} is not in the contract"));
        return Vec::new();
    };
    let mut rules = Vec::new();
    for field in found.fields() {
        match read_rule(&field.options(), &extension, request) {
            Ok(rule) => rules.push((field.name().to_owned(), rule)),
            Err(fault) => faults.push(format!("{oneof} {} {fault}", field.full_name())),
        }
    }
    rules
}

fn extension(pool: &DescriptorPool, name: &str, faults: &mut Vec<String>) -> Option<ExtensionDescriptor> {
    let found = pool.get_extension_by_name(&format!("{PACKAGE}.{name}"));
    if found.is_none() {
        faults.push(format!("option {PACKAGE}.{name} is not in the contract"));
    }
    found
}

fn read_rule(
    options: &DynamicMessage,
    extension: &ExtensionDescriptor,
    request: &MessageDescriptor,
) -> Result<Rule, &'static str> {
    if !options.has_extension(extension) {
        return Err("declares no access");
    }
    let declared = options.get_extension(extension);
    let declared = declared.as_message().ok_or("declares no access")?;
    let flag = |name: &str| declared.get_field_by_name(name).is_some_and(|value| value.as_bool() == Some(true));
    let scope = declared.get_field_by_name("scope");
    let scope = scope.as_deref().and_then(Value::as_str).filter(|scope| !scope.is_empty());
    let access = match (flag("public"), flag("authenticated"), scope) {
        (true, false, None) => Access::Public,
        (false, true, None) => Access::Authenticated,
        (false, false, Some(scope)) => Access::Scope(scope.to_owned()),
        _ => return Err("declares no access"),
    };
    let rule = Rule { access, self_allowed: flag("self"), client_authentication: flag("client_authentication") };
    if rule.self_allowed && !matches!(rule.access, Access::Scope(_)) {
        return Err("declares `self` without a scope that it stands in for");
    }
    if rule.client_authentication
        && !["client_id", "client_secret", "client_assertion"]
            .iter()
            .all(|name| request.get_field_by_name(name).is_some())
    {
        return Err(
            "declares `client_authentication`, but its request has no client_id, client_secret and client_assertion",
        );
    }
    Ok(rule)
}

fn ours(method: &MethodDescriptor, rule: Rule) -> Method {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let flow = match (method.is_client_streaming(), method.is_server_streaming()) {
        (false, false) => Flow::Unary,
        (true, false) => Flow::ClientStream,
        (false, true) => Flow::ServerStream,
        (true, true) => Flow::BidiStream,
    };
    let idempotency = method.method_descriptor_proto().options.as_ref().map(|options| options.idempotency_level());
    Method {
        flow,
        index: 0,
        reads_only: idempotency == Some(IdempotencyLevel::NoSideEffects),
        lane: if REVOCATIONS.contains(&path.as_str()) { Lane::Revocation } else { Lane::Ordinary },
        max_message: if path == BATCH.0 { BATCH.1 } else { MAX_MESSAGE_BYTES },
        rule: Some(rule),
        path,
        choices: Vec::new(),
    }
}

fn foreign(path: &str, flow: Flow) -> Method {
    Method {
        path: path.to_owned(),
        rule: None,
        flow,
        index: 0,
        reads_only: true,
        lane: Lane::Probe,
        max_message: MAX_MESSAGE_BYTES,
        choices: Vec::new(),
    }
}
