//! The file of counts: what each call may cost and why, and how a run compares with it.

use std::{
    env,
    fmt::Write as _,
    fs,
    process::{Command, ExitCode},
};

use super::{Options, Result, profile::Counts};

/// What was counted of one call, on average.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Counted {
    /// Store, call and shape, with tabs between them.
    pub(super) call: String,
    pub(super) counts: Counts,
}

/// A row of the file.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    counted: Counted,
    /// By how many per cent a run may differ.
    tolerance: f64,
    /// Why the call costs what it does: why the row was changed last.
    reason: String,
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq)]
struct File {
    /// What the counts were made with, see [`tools`].
    tools: String,
    rows: Vec<Row>,
}

/// What a run shows beside the file.
#[derive(Debug, Default)]
struct Findings {
    /// These fail.
    over: Vec<String>,
    /// These are told only: a call became cheaper.
    under: Vec<String>,
}

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/counts.tsv");
/// What a new row may differ by.
const TOLERANCE: f64 = 2.0;
/// What every row may differ by where the tools differ: another compiler makes other instructions of the same program.
const TOLERANCE_OF_OTHER_TOOLS: f64 = 10.0;
const TOOLS: &str = "# counted with: ";
const COMMENT: &str = "#";
const COLUMNS: &str = "store\tcall\tshape\tinstructions\tallocations\ttolerance\treason";
const HEAD: &str = "\
# What each call may cost: instructions that the process of the service executes in user space, and allocations, of one
# call on average. `tests/run budget` counts again and fails where a count is more than its tolerance (per cent) above.
# How to change a row: docs/ARCHITECTURE.md, Change what a call may cost.
";

/// Compares with the file, or renews it.
pub(super) fn judge(options: &Options, counted: &[Counted]) -> Result<ExitCode> {
    let tools = tools()?;
    let mut file = File::parse(&fs::read_to_string(PATH).map_err(|error| format!("read {PATH}: {error}"))?)?;
    let whole = options.only.is_empty();
    if let Some(reason) = &options.write {
        file.renew(counted, &tools, reason, whole);
        fs::write(PATH, file.text())?;
        println!("renewed: {PATH}");
        return Ok(ExitCode::SUCCESS);
    }
    let mut at_least = 0.0;
    if file.tools != tools {
        at_least = TOLERANCE_OF_OTHER_TOOLS;
        println!("counted with other tools than the file, so {at_least} % are tolerated:");
        println!("  in the file: {}\n  here:        {tools}", file.tools);
    }
    let Findings { over, under } = file.compare(counted, at_least, whole);
    if !under.is_empty() {
        println!("\ncheaper than {PATH} says, so renew it (--write REASON):\n  {}", under.join("\n  "));
    }
    if over.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("\nOVER THE BUDGET of {PATH}:\n  {}", over.join("\n  "));
    println!("Find what is needless (--profiles DIRECTORY, callgrind_annotate). If the cost must be: --write REASON.");
    Ok(ExitCode::FAILURE)
}

/// What counts depend on besides the program.
fn tools() -> Result<String> {
    let version = |program: &str| -> Result<String> {
        let output = Command::new(program).arg("--version").output()?;
        Ok(String::from_utf8(output.stdout)?.lines().next().unwrap_or_default().to_owned())
    };
    let libc = version("ldd")?;
    let libc = libc.rsplit(' ').next().unwrap_or_default();
    Ok(format!("{}, {}, glibc {libc}, {}", version("rustc")?, version("valgrind")?, env::consts::ARCH))
}

/// By how many per cent `found` is more than `allowed`.
fn excess(allowed: f64, found: f64) -> f64 {
    (found - allowed) / allowed.max(1.0) * 100.0
}

// === impl Row ===

impl Row {
    /// A line of the file. Without a reason it is none.
    fn parse(line: &str) -> Option<Self> {
        let columns: Vec<&str> = line.split('\t').collect();
        let [store, call, shape, instructions, allocations, tolerance, reason] = columns[..] else { return None };
        let counts = Counts { instructions: instructions.parse().ok()?, allocations: allocations.parse().ok()? };
        let reason = Some(reason.trim()).filter(|reason| !reason.is_empty())?.to_owned();
        let counted = Counted { call: [store, call, shape].join("\t"), counts };
        Some(Self { counted, tolerance: tolerance.parse().ok()?, reason })
    }

    fn compare(&self, found: Counts, at_least: f64) -> Findings {
        let mut findings = Findings::default();
        let allowed = self.counted.counts;
        let tolerance = self.tolerance.max(at_least);
        for (what, allowed, found) in [
            ("instructions", allowed.instructions, found.instructions),
            ("allocations", allowed.allocations, found.allocations),
        ] {
            let excess = excess(allowed, found);
            let call = self.counted.call.replace('\t', " ");
            let text = format!("{call}: {found} {what}, the file says {allowed}: {excess:+.1} %");
            if excess > tolerance {
                findings.over.push(format!("{text}, {tolerance} % are tolerated"));
            } else if excess < -tolerance {
                findings.under.push(text);
            }
        }
        findings
    }
}

// === impl File ===

impl File {
    fn parse(text: &str) -> Result<Self> {
        let mut file = Self::default();
        for line in text.lines() {
            if let Some(tools) = line.strip_prefix(TOOLS) {
                tools.clone_into(&mut file.tools);
            } else if !line.starts_with(COMMENT) && line != COLUMNS {
                file.rows.push(Row::parse(line).ok_or_else(|| format!("{PATH}: not a row with a reason: {line}"))?);
            }
        }
        Ok(file)
    }

    fn text(&self) -> String {
        let mut text = format!("{HEAD}{TOOLS}{}\n{COLUMNS}\n", self.tools);
        for Row { counted: Counted { call, counts }, tolerance, reason } in &self.rows {
            let Counts { instructions, allocations } = counts;
            let _ = writeln!(text, "{call}\t{instructions}\t{allocations}\t{tolerance}\t{reason}");
        }
        text
    }

    fn row(&self, call: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.counted.call == call)
    }

    /// Every tolerance is `at_least` so much. A run that was `whole` has counted all that is in the file.
    fn compare(&self, counted: &[Counted], at_least: f64, whole: bool) -> Findings {
        let mut findings = Findings::default();
        for Counted { call, counts } in counted {
            match self.row(call) {
                None => findings.over.push(format!("{}: not in the file", call.replace('\t', " "))),
                Some(row) => {
                    let Findings { over, under } = row.compare(*counts, at_least);
                    findings.over.extend(over);
                    findings.under.extend(under);
                }
            }
        }
        for Row { counted: Counted { call, .. }, .. } in &self.rows {
            if whole && !counted.iter().any(|counted| counted.call == *call) {
                findings.over.push(format!("{}: in the file, but not counted", call.replace('\t', " ")));
            }
        }
        findings
    }

    /// Takes in the counts of rows that are missing or do not hold any more. The others stay, so that many small changes
    /// add up against one number.
    fn renew(&mut self, counted: &[Counted], tools: &str, reason: &str, whole: bool) {
        let others = self.tools != tools;
        tools.clone_into(&mut self.tools);
        for counted in counted {
            let row = |tolerance| Row { counted: counted.clone(), tolerance, reason: reason.to_owned() };
            match self.rows.iter_mut().find(|row| row.counted.call == counted.call) {
                None => self.rows.push(row(TOLERANCE)),
                Some(old) => {
                    let Findings { over, under } = old.compare(counted.counts, 0.0);
                    if others || !over.is_empty() || !under.is_empty() {
                        *old = row(old.tolerance);
                    }
                }
            }
        }
        self.rows.retain(|row| !whole || counted.iter().any(|counted| counted.call == row.counted.call));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = "redis\tintrospect-jwt\t4x16";

    fn file() -> File {
        File::parse(&format!("{HEAD}{TOOLS}these\n{COLUMNS}\n{CALL}\t100000\t50\t2\tas it was\n")).unwrap()
    }

    fn counted(call: &str, instructions: f64, allocations: f64) -> Counted {
        Counted { call: call.to_owned(), counts: Counts { instructions, allocations } }
    }

    #[test]
    fn more_than_two_per_cent_more_is_over_the_budget() {
        let over = |instructions, allocations| {
            file().compare(&[counted(CALL, instructions, allocations)], 0.0, true).over.len()
        };
        assert_eq!(over(101_900.0, 50.0), 0);
        assert_eq!(over(102_100.0, 50.0), 1);
        assert_eq!(over(100_000.0, 50.9), 0);
        assert_eq!(over(100_000.0, 51.1), 1);
        assert_eq!(over(50_000.0, 51.1), 1, "fewer instructions do not pay for allocations");
    }

    #[test]
    fn what_is_over_names_the_call_and_both_counts() {
        let over = file().compare(&[counted(CALL, 103_000.0, 50.0)], 0.0, true).over.join("");
        assert!(
            over.contains("redis introspect-jwt 4x16: 103000 instructions, the file says 100000: +3.0 %"),
            "{over}"
        );
    }

    #[test]
    fn what_is_cheaper_is_told_and_passes() {
        let findings = file().compare(&[counted(CALL, 97_900.0, 50.0)], 0.0, true);
        assert!(findings.over.is_empty());
        assert_eq!(findings.under.len(), 1);
    }

    #[test]
    fn a_call_without_a_row_and_a_row_without_a_call_fail() {
        let other = counted("redis\trevoke\t4x16", 1.0, 1.0);
        let both = [counted(CALL, 100_000.0, 50.0), other];
        assert_eq!(file().compare(&both, 0.0, true).over, ["redis revoke 4x16: not in the file"]);
        let missing = file().compare(&[], 0.0, true).over;
        assert_eq!(missing, ["redis introspect-jwt 4x16: in the file, but not counted"]);
        assert!(file().compare(&[], 0.0, false).over.is_empty(), "a run that counts only some");
    }

    #[test]
    fn other_tools_are_tolerated_more() {
        let over = |instructions| file().compare(&[counted(CALL, instructions, 50.0)], 10.0, true).over.len();
        assert_eq!([over(109_000.0), over(111_000.0)], [0, 1]);
    }

    #[test]
    fn a_row_is_renewed_with_its_reason_when_it_does_not_hold() {
        let renewed = |instructions, tools| {
            let mut file = file();
            file.renew(&[counted(CALL, instructions, 50.0)], tools, "a reason", true);
            let row = file.row(CALL).unwrap();
            (row.counted.counts.instructions, row.reason.clone())
        };
        assert_eq!(renewed(101_000.0, "these"), (100_000.0, "as it was".to_owned()));
        assert_eq!(renewed(103_000.0, "these"), (103_000.0, "a reason".to_owned()));
        assert_eq!(renewed(97_000.0, "these"), (97_000.0, "a reason".to_owned()));
        assert_eq!(renewed(101_000.0, "others"), (101_000.0, "a reason".to_owned()));
    }

    #[test]
    fn the_file_is_read_as_it_was_written_and_wants_reasons() {
        assert_eq!(File::parse(&file().text()).unwrap(), file());
        assert!(File::parse(&format!("{CALL}\t100000\t50\t2\t \n")).is_err());
    }
}
