//! The binary as a child process: an empty environment, a directory of its own, a free port, killed when dropped.

use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use tempfile::TempDir;

use super::calls::Link;
use crate::servers::Server;

/// The id of the first administrator, where the configuration names it.
pub const ADMIN: &str = "root";
/// Its secret.
pub const ADMIN_SECRET: &str = "correct-horse-battery-staple-4711";
/// The master key of all processes that share a server.
pub const MASTER_KEY: &str = "8f1d2c3b4a5968778695a4b3c2d1e0f00112233445566778899aabbccddeeff1";

/// Longer than anything here takes, unless it hangs.
pub const SOON: Duration = Duration::from_secs(20);

/// How much of a log is shown with a failed test.
const SHOWN: usize = 30;

/// How to start a process. It can be started again and again.
#[derive(Clone, Debug)]
pub struct Setup {
    dir: Arc<TempDir>,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

/// A running `jeton serve`.
#[derive(Debug)]
pub struct Jeton {
    setup: Setup,
    child: Child,
    out: Lines,
    err: Lines,
    address: String,
}

/// What a process has written so far to one of its outputs.
#[derive(Clone, Debug, Default)]
pub struct Lines(Arc<(Mutex<Written>, Condvar)>);

#[derive(Debug, Default)]
struct Written {
    text: String,
    closed: bool,
}

/// A process that has ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

// === impl Setup ===

impl Setup {
    /// With the embedded store in a new directory, and nothing else said.
    pub fn bare() -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let data = dir.path().join("data").display().to_string();
        Self { dir, args: Vec::new(), env: Vec::new() }.env("JETON_DATA_DIR", &data).env("JETON_LISTEN", "127.0.0.1:0")
    }

    /// With the embedded store and an administrator whose credentials are known.
    pub fn embedded() -> Self {
        Self::bare().env("JETON_BOOTSTRAP_CLIENT_ID", ADMIN).env("JETON_BOOTSTRAP_CLIENT_SECRET", ADMIN_SECRET)
    }

    /// A replica on a server of Redis.
    pub fn redis(server: &Server) -> Self {
        Self::redis_at(&server.url())
    }

    pub fn redis_at(url: &str) -> Self {
        Self::embedded().env("JETON_STORE", "redis").env("JETON_REDIS_URL", url).env("JETON_MASTER_KEY", MASTER_KEY)
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self
    }

    #[must_use]
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A directory that lives as long as the setup.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A process that listens.
    pub fn start(&self) -> Jeton {
        let mut jeton = self.start_unwatched();
        let listens = |text: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix("jeton listens on "))?;
            Some(line.to_owned())
        };
        match jeton.out.find(listens) {
            Some(address) => jeton.address = address,
            None => panic!("jeton did not start: {}{}", jeton.out.text(), jeton.err.text()),
        }
        jeton
    }

    /// A process that is to end by itself.
    pub fn run(&self) -> Ended {
        self.start_unwatched().ended()
    }

    /// A process that nobody waits for.
    pub fn start_unwatched(&self) -> Jeton {
        let (child, out, err) = self.spawn();
        Jeton { setup: self.clone(), child, out, err, address: String::new() }
    }

    fn spawn(&self) -> (Child, Lines, Lines) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_jeton"))
            .arg("serve")
            .args(&self.args)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = Lines::follow(child.stdout.take().unwrap());
        let err = Lines::follow(child.stderr.take().unwrap());
        (child, out, err)
    }
}

// === impl Jeton ===

impl Jeton {
    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where it serves OAuth 2, if `JETON_HTTP_LISTEN` is set: `host:port`.
    pub fn http(&self) -> String {
        const BEGIN: &str = "OAuth 2 listens on ";
        let out = self.out_with(BEGIN);
        out.lines().find_map(|line| line.strip_prefix(BEGIN)).unwrap().to_owned()
    }

    /// A connection of its own, made at the first call.
    pub fn link(&self) -> Link {
        Link::new(&self.address)
    }

    pub fn out(&self) -> String {
        self.out.text()
    }

    /// What it has printed, once a line of it begins with `begin`.
    pub fn out_with(&self, begin: &str) -> String {
        let has = |text: &str| text.lines().any(|line| line.starts_with(begin)).then(|| text.to_owned());
        self.out.find(has).unwrap_or_else(|| panic!("it never prints {begin}: {}", self.out()))
    }

    /// Waits until it has logged a text.
    pub fn err_with(&self, text: &str) {
        let found = self.err.find(|err| err.contains(text).then_some(()));
        assert!(found.is_some(), "it never logs {text}: {}", self.err());
    }

    pub fn err(&self) -> String {
        self.err.text()
    }

    pub fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the ended process again, on another port.
    pub fn restart(&mut self) {
        *self = self.setup.start();
    }

    /// Freezes the process and waits until it is frozen.
    pub fn stop(&self) {
        self.signal("STOP");
        let stat = format!("/proc/{}/stat", self.child.id());
        let frozen = || std::fs::read_to_string(&stat).unwrap().contains(") T ");
        crate::servers::until("the process is frozen", frozen);
    }

    pub fn cont(&self) {
        self.signal("CONT");
    }

    pub fn terminate(&self) {
        self.signal("TERM");
    }

    fn signal(&self, name: &str) {
        // The shell's own `kill`: the program is not installed everywhere.
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for the process to end by itself.
    pub fn ended(mut self) -> Ended {
        let deadline = Instant::now() + SOON;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "jeton does not end: {}{}", self.out(), self.err());
            thread::sleep(Duration::from_millis(2));
        };
        Ended { status, out: self.out.whole(), err: self.err.whole() }
    }
}

impl Drop for Jeton {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            // Shown with the failed test.
            let (out, err) = (self.out(), self.err());
            let end =
                err.lines().rev().take(SHOWN).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
            let _ = writeln!(std::io::stdout(), "{} wrote:\n{out}{end}", self.address);
        }
    }
}

// === impl Lines ===

impl Lines {
    pub fn follow(output: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let written = lines.clone();
        thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = String::new();
            while output.read_line(&mut line).is_ok_and(|read| read > 0) {
                written.0.0.lock().text += &std::mem::take(&mut line);
                written.0.1.notify_all();
            }
            written.0.0.lock().closed = true;
            written.0.1.notify_all();
        });
        lines
    }

    pub fn text(&self) -> String {
        self.0.0.lock().text.clone()
    }

    /// What `wanted` finds in the text, as soon as it does; `None` if the output ends before.
    pub fn find<T>(&self, wanted: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (written, grown) = &*self.0;
        let deadline = Instant::now() + SOON;
        let mut written = written.lock();
        loop {
            let found = wanted(&written.text);
            if found.is_some() || written.closed {
                return found;
            }
            assert!(!grown.wait_until(&mut written, deadline).timed_out(), "still not written: {}", written.text);
        }
    }

    /// Everything, once the output has ended.
    fn whole(&self) -> String {
        self.find(|_| None::<()>);
        self.text()
    }
}
