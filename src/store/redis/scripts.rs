//! The Lua scripts. Each works on keys of one hash tag, declares them all (but one, see `ROWS`), checks first and writes last, so that it does
//! everything or nothing, and may be sent again.

use std::sync::LazyLock;

use aws_lc_rs::digest;
use redis::Cmd;

/// A script and the name that the server caches it under.
#[derive(Debug)]
pub struct Script {
    text: &'static str,
    sha: String,
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident: $($file:literal)+;)*) => {
        $(
            $(#[$doc])*
            pub static $name: LazyLock<Script> = LazyLock::new(|| Script::new(concat!($(include_str!($file)),+)));
        )*
        /// All of them.
        pub static ALL: &[&LazyLock<Script>] = &[$(&$name),*];
    };
}

scripts! {
    /// Reads the log's head and what follows a position.
    TAIL: "lua/position.lua" "lua/tail.lua";
    /// Appends to the log.
    APPEND: "lua/position.lua" "lua/append.lua";
    /// Writes nothing of meaning.
    BEAT: "lua/beat.lua";
    /// Puts a token into its subject's list.
    INDEX: "lua/index.lua";
    /// Moves a family on.
    FAMILY: "lua/family.lua";
    /// Notes a mint on a session.
    SESSION: "lua/session.lua";
    /// Changes a tenant's directory.
    WRITE: "lua/write.lua";
    /// Reads rows of an index with their records. The one script that does not declare all its keys: it learns the ids
    /// of the records from the index. Their keys have the index's tag.
    ROWS: "lua/rows.lua";
    /// Clears what a record had pending.
    SETTLE: "lua/settle.lua";
}

impl Script {
    fn new(text: &'static str) -> Self {
        // The protocol names scripts by SHA-1; nothing is protected by it.
        let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        Self { text, sha: digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect() }
    }

    /// A call of the script on `keys`; its arguments are to be added.
    pub fn on<K: AsRef<[u8]>>(&self, keys: &[K]) -> Cmd {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&self.sha).arg(keys.len());
        for key in keys {
            call.arg(key.as_ref());
        }
        call
    }

    /// The command that puts the script into the server's cache.
    pub fn load(&self) -> Cmd {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(self.text);
        load
    }
}

/// The same call with the script's text, which a server that lost its cache takes; `None` if it is no call of a script.
pub fn with_text(call: &Cmd) -> Option<Cmd> {
    let mut args = call.args_iter().map(|arg| match arg {
        redis::Arg::Simple(bytes) => bytes,
        redis::Arg::Cursor => b"0",
        _ => b"",
    });
    if args.next()? != b"EVALSHA" {
        return None;
    }
    let sha = args.next()?;
    let script = ALL.iter().find(|script| script.sha.as_bytes() == sha)?;
    let mut eval = redis::cmd("EVAL");
    eval.arg(script.text);
    for arg in args {
        eval.arg(arg);
    }
    Some(eval)
}
