//! The operator commands and the printed examples, as a person at a terminal uses them.

use std::{
    env, fs,
    io::Write as _,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use super::process::{Jeton, Setup};

/// What a command printed, and its exit code.
#[derive(Debug)]
struct Said {
    out: String,
    err: String,
    code: i32,
}

/// A terminal beside a service.
struct Terminal {
    jeton: Jeton,
    setup: Setup,
    credentials: String,
}

// === impl Terminal ===

impl Terminal {
    fn open() -> Self {
        let setup = Setup::bare();
        let jeton = setup.start();
        let credentials = setup.data_dir().join("bootstrap.json").display().to_string();
        Self { jeton, setup, credentials }
    }

    /// Runs a command as the administrator, with `input` on its standard input.
    fn run(&self, args: &[&str], input: &str) -> Said {
        let environment = [("JETON_SERVER", self.jeton.address()), ("JETON_CREDENTIALS", &self.credentials)];
        run(args, input, &environment)
    }

    /// What a command prints that must succeed.
    #[track_caller]
    fn ok(&self, args: &[&str], input: &str) -> String {
        let said = self.run(args, input);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{args:?}: {said:?}");
        said.out
    }

    /// The same with `--json`.
    #[track_caller]
    fn json(&self, args: &[&str], input: &str) -> Value {
        serde_json::from_str(&self.ok(&[args, &["--json"]].concat(), input)).unwrap()
    }

    /// What a command says that must fail because of the call.
    #[track_caller]
    fn fails(&self, args: &[&str], input: &str) -> String {
        let said = self.run(args, input);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{args:?}: {said:?}");
        said.err
    }
}

fn run(args: &[&str], input: &str, environment: &[(&str, &str)]) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_jeton"))
        .args(args)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read it may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    said(child.wait_with_output().unwrap())
}

fn said(output: Output) -> Said {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { out: text(output.stdout), err: text(output.stderr), code: output.status.code().unwrap() }
}

/// The value behind a name in what is printed for people.
#[track_caller]
fn value(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    line[name.len()..].trim().to_owned()
}

#[test]
fn a_token_is_issued_judged_and_revoked() {
    let terminal = Terminal::open();
    let me = terminal.ok(&["token", "whoami"], "");
    assert_eq!(value(&me, "active"), "true");
    assert_eq!(value(&me, "tenant_id"), "system");

    let create = ["client", "create", "--tenant", "default", "--display-name", "billing"];
    let created = terminal.json(
        &[
            &create[..],
            &["--allowed-scopes", "read,write", "--default-scopes", "read"],
            &["--allowed-grants", "client_credentials"],
        ]
        .concat(),
        "",
    );
    let (id, secret) = (created["client"]["clientId"].as_str().unwrap(), created["clientSecret"].as_str().unwrap());
    assert!(terminal.ok(&["client", "list", "--tenant", "default"], "").contains(id));

    let issue = [
        "token",
        "issue",
        "--client-credentials",
        "--client-id",
        id,
        "--client-secret-file",
        "-",
        "--format",
        "opaque",
    ];
    let issued = terminal.ok(&issue, &format!("{secret}\n"));
    let token = value(&issued, "access_token");
    assert_eq!(value(&issued, "scopes"), "read");
    let token_id = value(&issued, "token_id");
    // A secret on the command line would be seen by every user of the machine.
    let refused = terminal.run(&["token", "introspect", "--token", &token], "");
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(!refused.err.contains(&token), "{}", refused.err);

    let introspect = ["token", "introspect", "--token-file", "-"];
    assert_eq!(value(&terminal.ok(&introspect, &token), "active"), "true");
    let listed = terminal.ok(&["token", "list", "--tenant", "default", "--client-id", id], "");
    assert!(listed.contains(&token_id) && listed.contains("active") && !listed.contains(&token), "{listed}");
    terminal.ok(&["token", "revoke", "--tenant", "default", &token_id], "");
    let judged = terminal.json(&introspect, &token);
    assert_eq!(judged["introspection"], serde_json::json!({"active": false}));
}

#[test]
fn accounts_tenants_and_keys_are_managed() {
    let terminal = Terminal::open();
    let account = terminal
        .json(&["account", "create", "--tenant", "default", "--display-name", "ACME", "--foreign-id", "acme-1"], "");
    let id = account["account"]["accountId"].as_str().unwrap();
    assert!(id.starts_with("acc_"));
    let text = terminal.ok(&["account", "get", "--tenant", "default", "acme-1"], "");
    assert_eq!(value(&text, "account_id"), id);
    terminal.ok(&["account", "disable", "--tenant", "default", id], "");
    assert!(terminal.ok(&["account", "list", "--tenant", "default"], "").contains("disabled"));

    terminal.ok(&["tenant", "create", "globex", "--display-name", "Globex"], "");
    assert!(terminal.ok(&["tenant", "list"], "").contains("globex"));
    let keys = |terminal: &Terminal| {
        terminal.json(&["key", "list", "--tenant", "globex"], "")["keys"].as_array().unwrap().len()
    };
    let before = keys(&terminal);
    terminal.ok(&["key", "rotate", "--tenant", "globex"], "");
    assert_eq!(keys(&terminal), before + 1);
}

#[test]
fn a_failure_has_an_exit_code_and_a_reason() {
    let terminal = Terminal::open();
    let missing = terminal.fails(&["account", "get", "--tenant", "default", "nobody"], "");
    assert!(missing.starts_with("error: ") && missing.contains("(NOT_FOUND)"), "{missing}");
    terminal.ok(&["tenant", "create", "taken"], "");
    let taken = terminal.fails(&["tenant", "create", "taken"], "");
    assert!(taken.contains("(TENANT_ID_TAKEN)"), "{taken}");
    let invalid = terminal.fails(&["tenant", "create", "a/b"], "");
    assert!(invalid.contains("(INVALID_FIELD)") && invalid.contains("tenant.tenant_id"), "{invalid}");
    let wrong = terminal.fails(
        &["token", "issue", "--client-credentials", "--client-id", "cli_nobody", "--client-secret-file", "-"],
        "jcs_wrong",
    );
    assert!(wrong.contains("(INVALID_CLIENT)") && !wrong.contains("jcs_wrong"), "{wrong}");

    // Not made at all: 2.
    for args in [&["token", "nonsense"][..], &["account", "create"], &["token", "whoami", "--timeout", "soon"]] {
        let said = terminal.run(args, "");
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{args:?}: {said:?}");
        assert!(said.err.starts_with("error: "), "{}", said.err);
    }
    let address = terminal.jeton.address().to_owned();
    let setup = terminal.setup.clone();
    drop(terminal);
    let gone = run(&["token", "whoami", "--server", &address], "", &[]);
    assert_eq!(gone.code, 1, "{gone:?}");
    assert!(gone.err.contains(&address) && gone.err.contains("(UNAVAILABLE)"), "{}", gone.err);
    drop(setup);
}

#[test]
fn what_a_start_prints_works_as_it_stands() {
    let terminal = Terminal::open();
    let printed = terminal.jeton.out_with("Or: ");
    let lines: Vec<&str> = printed.lines().map(str::trim).collect();
    let find = |begin: &str| *lines.iter().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("{printed}"));

    // With the binary under test as `jeton` on the path.
    let bin = terminal.setup.dir().join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_jeton"), bin.join("jeton")).unwrap();
    let path = format!("{}:{}", bin.display(), env::var("PATH").unwrap());
    let shell =
        |script: &str| said(Command::new("sh").args(["-euc", script]).env_clear().env("PATH", &path).output().unwrap());

    let whoami = shell(find("Or: ").strip_prefix("Or: ").unwrap());
    assert_eq!((whoami.code, whoami.err.as_str()), (0, ""), "{whoami:?}");
    assert_eq!(value(&whoami.out, "tenant_id"), "system");

    let has_grpcurl = env::split_paths(&path).any(|dir| dir.join("grpcurl").is_file());
    if !has_grpcurl {
        assert!(env::var_os("CI").is_none(), "grpcurl is not on PATH (see tests/run)");
        let _ = writeln!(
            std::io::stdout(),
            "SKIPPED: grpcurl is not on PATH, so the printed lines with it were not run (see tests/run)"
        );
        return;
    }
    let caller = shell(&format!("{}\n{}", find("export TOKEN="), find("grpcurl ")));
    assert_eq!((caller.code, caller.err.as_str()), (0, ""), "{caller:?}");
    let caller: Value = serde_json::from_str(&caller.out).unwrap();
    assert_eq!(caller["caller"]["tenantId"], "system");
}
