//! The processes of a run: the service and the echo, each under callgrind, and the server that the second store runs on.

use std::{
    env,
    fs::{self, File},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    Result,
    profile::{self, Counter},
};

/// A child, killed when dropped.
#[derive(Debug)]
struct Process(Child);

/// A directory of this run, removed when dropped.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

/// A gRPC server that is counted.
#[derive(Debug)]
pub(super) struct Server {
    /// As tonic takes it.
    pub(super) address: String,
    pub(super) counter: Counter,
    _process: Process,
    _dir: Scratch,
}

/// A server of the Redis protocol.
#[derive(Debug)]
pub(super) struct Redis {
    pub(super) url: String,
    _process: Process,
    _dir: Scratch,
}

/// The administrator that services of a run are started with. They listen on loopback, for as long as the run takes.
pub(super) const ADMIN: (&str, &str) = ("budget-admin", "budget-secret-that-is-thrown-away-after-the-run");
/// What the service and the echo say before their address.
pub(super) const LISTENS: &str = "listens on ";

/// Files with what a process writes.
const OUTPUT: &str = "output.txt";
const LOG: &str = "log.txt";
/// How long a process may take to answer. Under callgrind, and on a machine that does something else as well.
const READY: Duration = Duration::from_secs(120);

static SCRATCHES: AtomicU32 = AtomicU32::new(0);

// === impl Process ===

impl Process {
    /// Starts it with its output in files of `dir`.
    fn start(command: &mut Command, dir: &Path) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(File::create(dir.join(OUTPUT))?).stderr(File::create(dir.join(LOG))?);
        Ok(Self(command.spawn().map_err(|error| format!("start {:?}: {error}", command.get_program()))?))
    }

    /// Where it says that it listens.
    fn authority(&mut self, dir: &Path) -> Result<String> {
        let deadline = Instant::now() + READY;
        loop {
            let output = fs::read_to_string(dir.join(OUTPUT))?;
            if let Some((_, authority)) = output.lines().find_map(|line| line.split_once(LISTENS))
                && output.ends_with('\n')
            {
                return Ok(authority.to_owned());
            }
            if self.0.try_wait()?.is_some() || Instant::now() >= deadline {
                return Err(
                    format!("a process of the run did not start: {}", fs::read_to_string(dir.join(LOG))?).into()
                );
            }
            sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// === impl Scratch ===

impl Scratch {
    pub(super) fn new() -> Result<Self> {
        let name = format!("jeton-budget-{}-{}", process::id(), SCRATCHES.fetch_add(1, Ordering::Relaxed));
        let path = env::temp_dir().join(name);
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean up.
        let _ = fs::remove_dir_all(&self.0);
    }
}

// === impl Server ===

impl Server {
    /// The service, on the embedded store or on `redis`. One worker thread: which of two would take a connection, and how
    /// often they would wait for each other, is chance.
    pub(super) fn service(redis: Option<&Redis>) -> Result<Self> {
        let dir = Scratch::new()?;
        let mut command = profile::command(&env::current_exe()?.with_file_name("jeton"), dir.path());
        command.arg("serve").env_remove("JETON_CONFIG");
        command
            .env("JETON_LISTEN", "127.0.0.1:0")
            .env("JETON_HTTP_LISTEN", "127.0.0.1:0")
            .env("JETON_DATA_DIR", dir.path().join("data"))
            .env("JETON_WORKERS", "1")
            .env("JETON_LIMITS_REQUEST_DEADLINE", "5m") // callgrind takes its time
            .env("JETON_PUBLIC_URL", "http://localhost:7443")
            .env("JETON_BOOTSTRAP_CLIENT_ID", ADMIN.0)
            .env("JETON_BOOTSTRAP_CLIENT_SECRET", ADMIN.1);
        if let Some(redis) = redis {
            command.env("JETON_STORE", "redis").env("JETON_REDIS_URL", &redis.url);
            command.env("JETON_MASTER_KEY", (0..32).map(|byte| format!("{byte:02x}")).collect::<String>());
        }
        Self::start(&mut command, dir)
    }

    /// The echo, which answers with the message in `reply`.
    pub(super) fn echo(reply: &[u8]) -> Result<Self> {
        let dir = Scratch::new()?;
        let file = dir.path().join("reply");
        fs::write(&file, reply)?;
        let mut command = profile::command(&env::current_exe()?, dir.path());
        command.arg("echo").arg(file);
        Self::start(&mut command, dir)
    }

    fn start(command: &mut Command, dir: Scratch) -> Result<Self> {
        let mut process = Process::start(command, dir.path())?;
        let address = format!("http://{}", process.authority(dir.path())?);
        let counter = Counter::new(process.0.id(), dir.path());
        Ok(Self { address, counter, _process: process, _dir: dir })
    }
}

// === impl Redis ===

impl Redis {
    /// Starts an empty server as it should be in production, with an append-only file synced every second.
    pub(super) fn start(program: &Path) -> Result<Self> {
        let dir = Scratch::new()?;
        let deadline = Instant::now() + READY;
        while Instant::now() < deadline {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            let mut command = Command::new(program);
            command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--daemonize", "no"]);
            command.args(["--maxmemory-policy", "noeviction", "--appendonly", "yes", "--dir"]).arg(dir.path());
            let mut process = Process::start(&mut command, dir.path())?;
            // It ends at once if another process has taken the port meanwhile.
            while process.0.try_wait()?.is_none() && Instant::now() < deadline {
                if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                    return Ok(Self { url: format!("redis://127.0.0.1:{port}/"), _process: process, _dir: dir });
                }
                sleep(Duration::from_millis(5));
            }
        }
        Err(format!("{} did not answer in time", program.display()).into())
    }
}
