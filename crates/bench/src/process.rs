//! The processes of a run: the service, the echo and Redis, each by itself, so that the kernel tells their CPU time apart.

use std::{
    env,
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use super::{Result, number};

/// A child, killed when dropped.
#[derive(Debug)]
pub(super) struct Process(Child);

/// A directory of this run, removed when dropped.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

/// Which store a service has.
#[derive(Clone, Debug)]
pub(super) enum Store {
    Embedded,
    Redis(RedisAddress),
}

/// What a service is started with besides what it ships with.
#[derive(Clone, Debug)]
pub(super) enum Extra {
    None,
    /// Its listeners are secured.
    Tls,
    /// It is watched: metrics, and OTLP to `endpoint`, with one call in a hundred traced.
    Telemetry {
        endpoint: String,
    },
}

/// Where a Redis server listens.
#[derive(Clone, Debug)]
pub(super) struct RedisAddress {
    pub(super) url: String,
    /// `host:port`.
    authority: String,
}

/// A service that runs.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) process: Process,
    /// As tonic takes it.
    pub(super) address: String,
    /// Where it speaks OAuth 2.
    pub(super) http: String,
    pub(super) started: Instant,
}

/// A Redis server of our own.
#[derive(Debug)]
pub(super) struct Redis {
    pub(super) address: RedisAddress,
    _process: Process,
    _dir: Scratch,
}

/// The administrator that services of a run are started with. They listen on loopback, for as long as the run takes.
pub(super) const ADMIN: (&str, &str) = ("bench-admin", "bench-secret-that-is-thrown-away-after-the-run");
/// The service's own default, so that issuers are as long as they are.
pub(super) const PUBLIC_URL: &str = "http://localhost:7443";

/// What services of a run under TLS are known by, for a hundred years. Everybody has the key, so it is trusted here only.
pub(super) const CERTIFICATE: &str = include_str!("server.pem");
const PRIVATE_KEY: &str = include_str!("server.key");

/// Files with what a process writes.
const OUTPUT: &str = "output.txt";
const LOG: &str = "log.txt";
/// What the service and the echo say before their address.
pub(super) const LISTENS: &str = "listens on ";
/// What the service says before that of its HTTP side.
const SPEAKS: &str = "OAuth 2 listens on ";
/// How long a process may take to answer.
const READY: Duration = Duration::from_secs(30);

static SCRATCHES: AtomicU32 = AtomicU32::new(0);

// === impl Process ===

impl Process {
    /// Starts it with its output in files of `dir`.
    fn start(command: &mut Command, dir: &Path) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(File::create(dir.join(OUTPUT))?).stderr(File::create(dir.join(LOG))?);
        Ok(Self(command.spawn()?))
    }

    /// What it says behind `said`, where it listens: it takes a free port itself, so that nobody else has it meanwhile.
    fn authority(&mut self, dir: &Path, said: &str) -> Result<String> {
        let deadline = Instant::now() + READY;
        loop {
            let output = fs::read_to_string(dir.join(OUTPUT))?;
            let line = output.lines().find_map(|line| line.split_once(said));
            if let Some((_, authority)) = line.filter(|_| output.ends_with('\n')) {
                return Ok(authority.to_owned());
            }
            if self.0.try_wait()?.is_some() || Instant::now() >= deadline {
                let log = fs::read_to_string(dir.join(LOG))?;
                return Err(format!("a process of the run did not start: {log}").into());
            }
            sleep(Duration::from_millis(1));
        }
    }

    /// CPU time so far, user and system, of all threads that still run. Finer than `/proc/<pid>/stat`, which counts ticks.
    pub(super) fn cpu(&self) -> Result<Duration> {
        let mut nanos = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.0.id()))? {
            // A thread may end while it is looked at.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            nanos += text.split(' ').next().and_then(|nanos| nanos.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Resident memory in KiB.
    pub(super) fn resident_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Kills it and waits for its end.
    pub(super) fn end(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

// === impl Scratch ===

impl Scratch {
    /// A new directory in `parent`, or where the system keeps temporary files.
    pub(super) fn new(parent: Option<&Path>) -> Result<Self> {
        let name = format!("jeton-bench-{}-{}", process::id(), SCRATCHES.fetch_add(1, Ordering::Relaxed));
        let path = parent.map_or_else(env::temp_dir, Path::to_owned).join(name);
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

// === impl Service ===

impl Service {
    /// Starts `jeton serve` with what it ships with, and `extra`; its data and its log are in `dir`.
    pub(super) fn start(program: &Path, dir: &Path, store: &Store, extra: &Extra) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg("serve").env_clear();
        command
            .env("JETON_LISTEN", "127.0.0.1:0")
            .env("JETON_HTTP_LISTEN", "127.0.0.1:0")
            .env("JETON_DATA_DIR", dir.join("data"));
        command.env("JETON_PUBLIC_URL", PUBLIC_URL);
        command.env("JETON_BOOTSTRAP_CLIENT_ID", ADMIN.0).env("JETON_BOOTSTRAP_CLIENT_SECRET", ADMIN.1);
        if let Store::Redis(address) = store {
            command.env("JETON_STORE", "redis").env("JETON_REDIS_URL", &address.url);
            command.env("JETON_MASTER_KEY", (0..32).map(|byte| format!("{byte:02x}")).collect::<String>());
        }
        let scheme = match extra {
            Extra::None => "http",
            Extra::Tls => {
                let (certificate, key) = (dir.join("server.pem"), dir.join("server.key"));
                fs::write(&certificate, CERTIFICATE)?;
                fs::write(&key, PRIVATE_KEY)?;
                command.env("JETON_TLS_CERT_FILE", certificate).env("JETON_TLS_KEY_FILE", key);
                "https"
            }
            Extra::Telemetry { endpoint } => {
                command.env("JETON_ADMIN_LISTEN", "127.0.0.1:0").env("JETON_OTLP_ENDPOINT", endpoint);
                command.env("JETON_OTLP_SAMPLE_RATIO", "0.01").env("JETON_OTLP_INTERVAL", "1s");
                "http"
            }
        };
        let started = Instant::now();
        let mut process = Process::start(&mut command, dir)?;
        let address = format!("{scheme}://{}", process.authority(dir, LISTENS)?);
        let http = format!("{scheme}://{}", process.authority(dir, SPEAKS)?);
        Ok(Self { process, address, http, started })
    }
}

/// Starts the echo, which answers with the replies in `dir`. Returns its address, too.
pub(super) fn start_echo(dir: &Path) -> Result<(Process, String)> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["echo", "--replies"]).arg(dir).env_clear();
    let mut process = Process::start(&mut command, dir)?;
    let authority = process.authority(dir, LISTENS)?;
    Ok((process, format!("http://{authority}")))
}

// === impl Redis ===

impl Redis {
    /// Starts an empty server as it should be in production, with an append-only file synced every second.
    pub(super) fn start(program: &Path, parent: Option<&Path>) -> Result<Self> {
        let dir = Scratch::new(parent)?;
        let deadline = Instant::now() + READY;
        while Instant::now() < deadline {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port().to_string();
            let mut command = Command::new(program);
            command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--daemonize", "no"]);
            command.args(["--maxmemory-policy", "noeviction", "--appendonly", "yes", "--dir"]).arg(dir.path());
            let mut process = Process::start(&mut command, dir.path())?;
            let address = RedisAddress::new(&format!("redis://127.0.0.1:{port}/"))?;
            // It ends at once if somebody else has taken the port meanwhile.
            while process.0.try_wait()?.is_none() && Instant::now() < deadline {
                if address.info("server").is_ok_and(|info| info.contains("redis_version")) {
                    return Ok(Self { address, _process: process, _dir: dir });
                }
                sleep(Duration::from_millis(5));
            }
        }
        Err(format!("{} did not answer in time", program.display()).into())
    }
}

impl RedisAddress {
    /// Takes a URL without a password: what it names is thrown away.
    pub(super) fn new(url: &str) -> Result<Self> {
        let authority = url.strip_prefix("redis://").map(|rest| rest.split('/').next().unwrap_or(rest));
        match authority {
            Some(authority) if !authority.contains('@') => {
                Ok(Self { url: url.to_owned(), authority: authority.to_owned() })
            }
            _ => Err(format!("{url} is not of the form redis://host:port").into()),
        }
    }

    /// Name and version of the server.
    pub(super) fn product(&self) -> Result<String> {
        let info = self.info("server")?;
        Ok(match field(&info, "valkey_version") {
            Some(version) => format!("valkey {version}"),
            None => format!("redis {}", field(&info, "redis_version").unwrap_or("?")),
        })
    }

    /// CPU time of the server so far.
    pub(super) fn cpu(&self) -> Result<Duration> {
        let info = self.info("cpu")?;
        let seconds = |name| field(&info, name).and_then(|seconds| seconds.parse::<f64>().ok()).unwrap_or(0.0);
        Ok(Duration::try_from_secs_f64(seconds("used_cpu_user") + seconds("used_cpu_sys"))?)
    }

    /// Bytes that the server has allocated.
    pub(super) fn used_memory(&self) -> Result<f64> {
        let info = self.info("memory")?;
        Ok(number(field(&info, "used_memory").unwrap_or_default().parse()?))
    }

    fn info(&self, section: &str) -> Result<String> {
        let mut stream = TcpStream::connect(&self.authority)?;
        stream.set_read_timeout(Some(READY))?;
        stream.write_all(format!("INFO {section}\r\nQUIT\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}
