//! A process under valgrind's callgrind, and what it counts.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::Result;

/// What a process did in user space, all its threads together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) instructions: f64,
    /// Calls of the allocator that give memory, those of linked C code included.
    pub(super) allocations: f64,
}

/// Takes counts of one process.
#[derive(Debug)]
pub(super) struct Counter {
    pid: u32,
    dir: PathBuf,
    dumps: usize,
}

/// The file of a dump, before its number.
const DUMP: &str = "callgrind.out";
/// Where vgdb and the process find each other.
const PIPES: &str = "vgdb";

/// The functions of libc that give memory. Whatever is built on them calls one of these once.
const ALLOCATORS: [&str; 6] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"];

/// `program` under callgrind, which writes into `dir`.
pub(super) fn command(program: &Path, dir: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--quiet"]);
    command.arg(format!("--callgrind-out-file={}", dir.join(DUMP).display()));
    command.arg(format!("--vgdb-prefix={}", dir.join(PIPES).display()));
    command.arg(program);
    command
}

// === impl Counter ===

impl Counter {
    /// `pid` was started by [`command`] with the same `dir`.
    pub(super) fn new(pid: u32, dir: &Path) -> Self {
        Self { pid, dir: dir.to_owned(), dumps: 0 }
    }

    /// What the process did since it was asked last, or since it began. The profile is copied to `keep`.
    pub(super) fn take(&mut self, keep: Option<&Path>) -> Result<Counts> {
        let output = Command::new("vgdb")
            .arg(format!("--vgdb-prefix={}", self.dir.join(PIPES).display()))
            .arg(format!("--pid={}", self.pid))
            .arg("dump")
            .output()?;
        if !output.status.success() {
            return Err(format!("vgdb: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        self.dumps += 1;
        let file = self.dir.join(format!("{DUMP}.{}", self.dumps));
        let dump = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        if let Some(keep) = keep {
            fs::write(keep, &dump)?;
        }
        Counts::read(&dump)
    }
}

// === impl Counts ===

impl Counts {
    /// What each of so many calls cost.
    pub(super) fn of_each(self, calls: usize) -> Result<Self> {
        let calls = f64::from(u32::try_from(calls)?);
        let Self { instructions, allocations } = self;
        Ok(Self {
            instructions: (instructions / calls).round(),
            allocations: (allocations / calls * 10.0).round() / 10.0,
        })
    }

    /// The least of each, and by how many per cent the most instructions are more.
    pub(super) fn least(blocks: &[Self]) -> (Self, f64) {
        let least = |of: fn(&Self) -> f64| blocks.iter().map(of).fold(f64::INFINITY, f64::min);
        let least =
            Self { instructions: least(|counts| counts.instructions), allocations: least(|counts| counts.allocations) };
        let most = blocks.iter().map(|counts| counts.instructions).fold(0.0, f64::max);
        (least, (most / least.instructions - 1.0) * 100.0)
    }

    /// Reads a dump. A function's name stands behind its number where it comes first, later its number alone does.
    fn read(dump: &str) -> Result<Self> {
        let mut names: HashMap<&str, bool> = HashMap::new();
        let mut counts = Self::default();
        let mut allocates = false;
        for line in dump.lines() {
            if let Some(function) = line.strip_prefix("fn=").or_else(|| line.strip_prefix("cfn=")) {
                let (number, name) = function.split_once(' ').unwrap_or((function, ""));
                if !name.is_empty() {
                    // Behind an apostrophe stands the depth of a recursion.
                    let name = name.split('\'').next().unwrap_or(name);
                    names.insert(number, ALLOCATORS.contains(&name));
                }
                allocates = names.get(number).copied().unwrap_or(false);
            } else if let Some(calls) = line.strip_prefix("calls=").filter(|_| allocates) {
                let calls = calls.split(' ').next().unwrap_or_default();
                counts.allocations += calls.parse::<f64>()?;
            } else if let Some(total) = line.strip_prefix("totals:") {
                counts.instructions = total.trim().parse()?;
            }
        }
        if counts.instructions == 0.0 { Err("a dump of callgrind has no totals".into()) } else { Ok(counts) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_allocators_are_counted_by_name_and_by_number() {
        let dump = "\
fn=(1) main
cfn=(2) malloc
calls=3 0
1 300
cfn=(3) free
calls=2 0
fn=(4) other
cfn=(2)
calls=4 0
cfn=(5) realloc'2
calls=1 0
fn=(2)
0 90
totals: 12345
";
        assert_eq!(Counts::read(dump).unwrap(), Counts { instructions: 12_345.0, allocations: 8.0 });
        assert!(Counts::read("fn=(1) main\n").is_err());
    }
}
