//! Real Redis or Valkey servers for tests: one process each, on loopback, in a directory of its own, killed when dropped.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeSet,
    env, fs,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// A running server.
#[derive(Debug)]
pub struct Server {
    port: u16,
    dir: TempDir,
    transport: Transport,
    args: Vec<String>,
    process: Child,
}

/// The transport of a server's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Plain,
    Tls,
}

/// Whether a server keeps an append-only file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aof {
    On,
    Off,
}

/// How long a server may take to answer after its start.
const READY: Duration = Duration::from_secs(10);
/// A free port may be taken by somebody else before the server has it.
const PORTS: usize = 5;

// === impl Server ===

impl Server {
    /// An empty server.
    pub fn start(aof: Aof) -> Self {
        Self::start_with(aof, &[])
    }

    /// An empty server with more arguments, which come last.
    pub fn start_with(aof: Aof, more: &[&str]) -> Self {
        Self::with_transport(Transport::Plain, aof, more)
    }

    /// Whether there is a program for [`Self::secured`].
    pub fn has_tls() -> bool {
        program_with_tls().is_some()
    }

    /// An empty server under TLS. It is not asked anything here.
    pub fn secured(aof: Aof, more: &[&str]) -> Self {
        Self::with_transport(Transport::Tls, aof, more)
    }

    fn with_transport(transport: Transport, aof: Aof, more: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("make a directory for the server");
        let mut args: Vec<String> = [
            "--save",
            "",
            "--maxmemory-policy",
            "noeviction",
            // A replica that connects through a file is in step sooner.
            "--repl-diskless-sync",
            "no",
            "--appendonly",
            if aof == Aof::On { "yes" } else { "no" },
            // With `everysec` a server that is killed may lose what it held back while another sync ran.
            "--appendfsync",
            "always",
        ]
        .map(str::to_owned)
        .into();
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        for _ in 0..PORTS {
            let port = free_port();
            let mut process = spawn(transport, port, dir.path(), &args);
            if ready(dir.path(), 0, &mut process) {
                return Self { port, dir, transport, args, process };
            }
            end(&mut process);
            assert!(log(dir.path()).contains("already in use"), "the server did not start: {}", log(dir.path()));
        }
        panic!("no port was free: {}", log(dir.path()));
    }

    /// An empty replica of this server, caught up with it.
    pub fn replica(&self) -> Self {
        let port = self.port.to_string();
        let replica = Self::start_with(Aof::Off, &["--replicaof", "127.0.0.1", &port]);
        self.wait_for_replica();
        replica
    }

    /// Waits until its one replica follows it.
    pub fn wait_for_replica(&self) {
        // WAIT looks at what its own connection has written. A new replica may confirm once and then load its data.
        let beat = [&["SET", "beat", ""][..], &["DEL", "beat"], &["WAIT", "1", "20"]];
        let confirms = || self.commands(&beat).ends_with(":1\r\n+OK\r\n");
        until("the replica follows", || (0..3).all(|_| confirms()));
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// The files that it has written.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut directories = vec![self.dir.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).expect("read the server's directory").flatten() {
                let path = entry.path();
                if path.is_dir() { directories.push(path) } else { files.push(path) }
            }
        }
        files
    }

    /// Kills the server as a crash of the machine's process table would: nothing is written any more.
    pub fn kill9(&mut self) {
        self.process.kill().expect("kill the server");
        self.process.wait().expect("wait for the killed server");
    }

    /// Starts the killed server again with the same port and directory.
    pub fn restart(&mut self) {
        let logged = log(self.dir.path()).len();
        self.process = spawn(self.transport, self.port, self.dir.path(), &self.args);
        assert!(
            ready(self.dir.path(), logged, &mut self.process),
            "the server did not restart: {}",
            log(self.dir.path())
        );
    }

    /// Freezes the server: connections stay open and nothing is answered.
    pub fn stop(&self) {
        self.signal("STOP");
    }

    /// Thaws it.
    pub fn cont(&self) {
        self.signal("CONT");
    }

    /// Sends one command past the store and returns the raw answer, with that of a QUIT behind it.
    pub fn command(&self, args: &[&str]) -> String {
        self.commands(&[args])
    }

    fn commands(&self, commands: &[&[&str]]) -> String {
        ask(self.port, commands).expect("the server answers")
    }

    /// Sends one command whose answer is a whole number.
    pub fn number(&self, args: &[&str]) -> i64 {
        let answer = self.command(args);
        let number = answer.strip_prefix(':').and_then(|answer| answer.split('\r').next()?.parse().ok());
        number.unwrap_or_else(|| panic!("{args:?}: {answer}"))
    }

    fn signal(&self, name: &str) {
        // The shell's own `kill`: the program is not installed everywhere.
        let status =
            Command::new("sh").args(["-c", &format!("kill -{name} {}", self.process.id())]).status().expect("run sh");
        assert!(status.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

/// Waits until `reached`, asking again and again.
pub fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + READY;
    while !reached() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn end(process: &mut Child) {
    // It may have ended already.
    let _ = process.kill();
    let _ = process.wait();
}

fn spawn(transport: Transport, port: u16, dir: &Path, args: &[String]) -> Child {
    let path = dir.display().to_string();
    let port = port.to_string();
    let (program, listen) = match transport {
        Transport::Plain => (program(), vec!["--port", &port]),
        Transport::Tls => (program_with_tls().expect("a server with TLS"), vec!["--port", "0", "--tls-port", &port]),
    };
    Command::new(program)
        .args(["--bind", "127.0.0.1", "--dir", &path, "--daemonize", "no", "--logfile", "server.log"])
        .args(listen)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start the server")
}

/// `JETON_TEST_REDIS_BIN`, else `valkey-server`, else `redis-server`.
fn program() -> PathBuf {
    if let Some(named) = env::var_os("JETON_TEST_REDIS_BIN") {
        return named.into();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    ["valkey-server", "redis-server"]
        .iter()
        .find_map(|name| env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file()))
        .expect("valkey-server or redis-server on PATH (see tests/run), or JETON_TEST_REDIS_BIN")
}

/// Whichever of the programs was built with TLS: that of the Python package is not, that of Debian is.
fn program_with_tls() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let named = env::var_os("JETON_TEST_REDIS_BIN").map(PathBuf::from);
    let found = ["valkey-server", "redis-server"]
        .iter()
        .flat_map(|name| env::split_paths(&path).map(move |dir| dir.join(name)));
    let has_tls = |program: &PathBuf| {
        // It says that it lacks a certificate, or TLS altogether, and ends.
        let said = Command::new(program).args(["--port", "0", "--tls-port", "1", "--daemonize", "no"]).output();
        said.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains("tls-cert-file"))
    };
    let mut programs = named.into_iter().chain(found).filter(|program| program.is_file());
    programs.find(has_tls)
}

/// A port that nobody listens on and that no test of this process was given before: a test whose server is dead must not
/// meet another's.
fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("find a free port");
        let port = socket.local_addr().expect("the port's number").port();
        if GIVEN.lock().expect("no test panics here").insert(port) {
            return port;
        }
    }
}

/// Whether the server says that it is ready before it exits or the time is over. Its own log tells: on its port another
/// server may answer, which was quicker to take it.
fn ready(dir: &Path, logged_before: usize, process: &mut Child) -> bool {
    let deadline = Instant::now() + READY;
    while Instant::now() < deadline {
        if log(dir).get(logged_before..).is_some_and(|new| new.contains("Ready to accept connections")) {
            return true;
        }
        if process.try_wait().expect("look at the server").is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}

/// The raw answers to some commands, and to the QUIT that ends them.
fn ask(port: u16, commands: &[&[&str]]) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(READY))?;
    let mut packed = String::new();
    for args in commands.iter().chain([&["QUIT"].as_slice()]) {
        packed += &format!("*{}\r\n", args.len());
        for arg in *args {
            packed += &format!("${}\r\n{arg}\r\n", arg.len());
        }
    }
    stream.write_all(packed.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn log(dir: &Path) -> String {
    // There is none before the server's first word.
    let bytes = fs::read(dir.join("server.log")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
