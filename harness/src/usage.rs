//! What processes and the machine use: processor time, memory, files; from proc(5).

use std::collections::BTreeMap;
use std::fs::{read_dir, read_to_string};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::sleep;

/// Clock ticks of the kernel's counters in a second: 100 on every architecture of Linux.
const TICK: Duration = Duration::from_millis(10);
/// Bytes of one kB in proc(5).
const KILOBYTE: u64 = 1024;
/// How often memory is looked at until it stays as it is, and how many times at most.
const SETTLING: (Duration, u32) = (Duration::from_millis(250), 20);

/// Processor time used up to a moment.
#[derive(Debug, Clone)]
pub(crate) struct Usage {
    at: Instant,
    processors: u32,
    /// Of all processors together, when none of them had anything to do.
    idle: Duration,
    target: Scheduled,
    load: Scheduled,
}

/// Processor time of some processes.
#[derive(Debug, Clone)]
struct Scheduled {
    /// Of their threads, to the nanosecond.
    threads: BTreeMap<(u32, u32), Duration>,
    /// Of the processes, those of their threads that have ended included, to the tick.
    ticks: Duration,
}

/// Processor time used between two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) target: Duration,
    pub(crate) machine: Duration,
    /// Of the machine, what neither the target nor the load has used.
    pub(crate) others: Duration,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Usage {
    /// Up to now, of the target's processes, those that make the load, and the whole machine.
    pub(crate) fn now(target: &[u32], load: &[u32]) -> Result<Self> {
        let at = Instant::now();
        let (processors, idle) = idle(&read("/proc/stat")?).context("/proc/stat")?;
        Ok(Self {
            at,
            processors,
            idle,
            target: Scheduled::now(target)?,
            load: Scheduled::now(load)?,
        })
    }

    /// What was used since `before`.
    pub(crate) fn since(&self, before: &Self) -> Used {
        let took = self.at.saturating_duration_since(before.at);
        let idle = self.idle.saturating_sub(before.idle);
        let machine = (took * self.processors).saturating_sub(idle);
        let target = self.target.since(&before.target);
        let ours = target + self.load.since(&before.load);
        Used {
            target,
            machine,
            others: machine.saturating_sub(ours),
            took,
        }
    }
}

impl Scheduled {
    fn now(pids: &[u32]) -> Result<Self> {
        let (mut threads, mut ticks) = (BTreeMap::new(), Duration::ZERO);
        for pid in pids {
            let stat = read(&format!("/proc/{pid}/stat"))?;
            ticks += Stat::parse(&stat).context("/proc/PID/stat")?.used;
            for thread in numbers(&format!("/proc/{pid}/task"))? {
                // It may have ended since.
                let Ok(text) = read(&format!("/proc/{pid}/task/{thread}/schedstat")) else {
                    continue;
                };
                threads.insert((*pid, thread), scheduled(&text).context("schedstat")?);
            }
        }
        Ok(Self { threads, ticks })
    }

    fn since(&self, before: &Self) -> Duration {
        let mut earlier = before.threads.keys();
        if earlier.any(|thread| !self.threads.contains_key(thread)) {
            return self.ticks.saturating_sub(before.ticks);
        }
        let used = |(thread, now): (&(u32, u32), &Duration)| {
            now.saturating_sub(before.threads.get(thread).copied().unwrap_or_default())
        };
        self.threads.iter().map(used).sum()
    }
}

/// Resident memory in bytes and open files of the processes `pids` together; what they share is
/// counted as often as it is mapped.
pub(crate) fn held(pids: &[u32]) -> Result<(u64, u64)> {
    let (mut bytes, mut files) = (0, 0);
    for pid in pids {
        bytes += resident(&read(&format!("/proc/{pid}/status"))?).context("VmRSS")?;
        files += u64::try_from(read_dir(format!("/proc/{pid}/fd"))?.count())?;
    }
    Ok((bytes, files))
}

/// Open files of a process: those that are pipes, and all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) pipes: u64,
    pub(crate) others: u64,
}

impl Files {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let (mut pipes, mut others) = (0, 0);
        for file in read_dir(format!("/proc/{pid}/fd"))?.flatten() {
            // It may have been closed since.
            let Ok(target) = std::fs::read_link(file.path()) else {
                continue;
            };
            let pipe = target.to_string_lossy().starts_with("pipe:");
            *(if pipe { &mut pipes } else { &mut others }) += 1;
        }
        Ok(Self { pipes, others })
    }
}

/// [`held`] once it is the same in two looks.
pub(crate) async fn settled(pids: &[u32]) -> Result<(u64, u64)> {
    let (pause, looks) = SETTLING;
    let mut last = held(pids)?;
    for _ in 0..looks {
        sleep(pause).await;
        let now = held(pids)?;
        if now == last {
            break;
        }
        last = now;
    }
    Ok(last)
}

/// `pid` and all that descend from it.
pub(crate) fn family(pid: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for pid in numbers("/proc")? {
        if let Some(stat) = read(&format!("/proc/{pid}/stat"))
            .ok()
            .and_then(|text| Stat::parse(&text))
        {
            parents.push((pid, stat.parent));
        }
    }
    Ok(descendants(pid, &parents))
}

fn descendants(pid: u32, parents: &[(u32, u32)]) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        let children = parents.iter().filter(|(_, of)| *of == parent);
        found.extend(children.map(|(child, _)| *child));
        next += 1;
    }
    found
}

/// The hard limit on the files of one process.
pub(crate) fn files_max() -> Result<u64> {
    limit(&read("/proc/self/limits")?).context("Max open files")
}

fn limit(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn read(path: &str) -> Result<String> {
    read_to_string(path).with_context(|| path.to_owned())
}

/// The names in a folder that are numbers.
fn numbers(path: &str) -> Result<Vec<u32>> {
    let entries = read_dir(path).with_context(|| path.to_owned())?;
    let name = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    Ok(entries.flatten().filter_map(name).collect())
}

/// What counts of `/proc/PID/stat`.
struct Stat {
    parent: u32,
    used: Duration,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name may have blanks and parentheses in it; fields are numbered from 1.
        let (_, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_whitespace().skip(1);
        let parent = fields.next()?.parse().ok()?;
        let mut times = fields.skip(9);
        let user: u32 = times.next()?.parse().ok()?;
        let system: u32 = times.next()?.parse().ok()?;
        let used = TICK * user.checked_add(system)?;
        Some(Self { parent, used })
    }
}

/// Time on a processor: the first field of `schedstat`.
fn scheduled(text: &str) -> Option<Duration> {
    let nanos = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

/// How many processors there are, and how long they were idle, waited for a disk, or were taken by
/// the host: that is counted exactly, while busy time is sampled at every tick.
fn idle(stat: &str) -> Option<(u32, Duration)> {
    let processors = stat
        .lines()
        .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "));
    let all = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u32> = all
        .split_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    let [_, _, _, idle, waiting, _, _, stolen, ..] = fields.as_slice() else {
        return None;
    };
    let ticks = idle.checked_add(*waiting)?.checked_add(*stolen)?;
    Some((u32::try_from(processors.count()).ok()?, TICK * ticks))
}

fn resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kilobytes.checked_mul(KILOBYTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  5198 0 2287 98382 539 0 59 4 0 0\n\
        cpu0 2344 0 940 49907 26 0 13 1 0 0\ncpu1 2853 0 1347 48474 513 0 45 2 0 0\nintr 1 2\n";

    #[test]
    fn proc_is_read_as_it_is_written() {
        let idle_time = TICK * (98_382 + 539 + 4);
        assert_eq!(idle(STAT), Some((2, idle_time)));
        assert_eq!(idle("cpu  1 2 3\n"), None);
        let stat =
            "31 (a) b (c) S 14 31 31 0 -1 4194560 3111 37537 0 19 100 23 18 4 20 0 1 0 46372";
        let stat = Stat::parse(stat).unwrap();
        assert_eq!((stat.parent, stat.used), (14, TICK * 123));
        assert!(Stat::parse("31 (a").is_none());
        assert_eq!(
            scheduled("24013617 1752446 84\n"),
            Some(Duration::from_nanos(24_013_617))
        );
        assert_eq!(
            resident("VmHWM:\t    9000 kB\nVmRSS:\t    5632 kB\n"),
            Some(5632 * 1024)
        );
        assert_eq!(resident("VmHWM:\t 9 kB\n"), None);
        let limits =
            "Max processes  1 2 processes\nMax open files            1024   20000   files\n";
        assert_eq!(limit(limits), Some(20_000));
    }

    #[test]
    fn a_family_is_a_process_its_children_and_theirs() {
        let parents = [(1, 0), (5, 1), (6, 5), (7, 5), (8, 7), (9, 1)];
        assert_eq!(descendants(5, &parents), [5, 6, 7, 8]);
        assert_eq!(descendants(9, &parents), [9]);
        assert!(
            family(std::process::id())
                .unwrap()
                .contains(&std::process::id())
        );
    }

    fn scheduled_as(threads: &[(u32, u64)], ticks: u64) -> Scheduled {
        let thread = |(thread, millis): &(u32, u64)| ((1, *thread), Duration::from_millis(*millis));
        Scheduled {
            threads: threads.iter().map(thread).collect(),
            ticks: Duration::from_millis(ticks),
        }
    }

    #[test]
    fn what_was_used_is_the_difference() {
        let before = scheduled_as(&[(1, 100), (2, 50)], 40);
        let one_begun = scheduled_as(&[(1, 160), (2, 50), (3, 7)], 90);
        assert_eq!(one_begun.since(&before), Duration::from_millis(67));
        let one_ended = scheduled_as(&[(1, 160), (3, 7)], 90);
        assert_eq!(one_ended.since(&before), Duration::from_millis(50));

        let start = Instant::now();
        let usage = |seconds, idle, target, load| Usage {
            at: start + Duration::from_secs(seconds),
            processors: 2,
            idle: Duration::from_secs(idle),
            target: scheduled_as(&[(1, target)], 0),
            load: scheduled_as(&[(2, load)], 0),
        };
        let used = usage(3, 14, 1_500, 900).since(&usage(0, 10, 500, 500));
        let expected = Used {
            target: Duration::from_secs(1),
            machine: Duration::from_secs(2),
            others: Duration::from_millis(600),
            took: Duration::from_secs(3),
        };
        assert_eq!(used, expected);
    }

    #[test]
    fn this_very_process_uses_something() {
        let pids = [std::process::id()];
        let before = Usage::now(&pids, &[]).unwrap();
        let (bytes, files) = held(&pids).unwrap();
        assert!(bytes > 100_000 && files > 2);
        assert!(files_max().unwrap() > 100);
        // Other tests open and close files meanwhile.
        let (read, write) = std::io::pipe().unwrap();
        let files = Files::of(std::process::id()).unwrap();
        assert!(files.pipes >= 2 && files.others > 0, "{files:?}");
        drop((read, write));
        // The time of a running thread is brought up to date at every tick.
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let used = Usage::now(&pids, &[]).unwrap().since(&before);
            if !used.target.is_zero() && !used.machine.is_zero() {
                break;
            }
            assert!(Instant::now() < deadline, "{used:?}");
        }
    }
}
