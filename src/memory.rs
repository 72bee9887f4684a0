//! How much memory there is, where the system says so; and that what is freed goes back to it.

/// Bytes that the program may still take: what is free, or a container's limit if that is less; `None` where it is not
/// known (only Linux is asked).
pub fn free() -> Option<u64> {
    let free = field(&read("/proc/meminfo")?, "MemAvailable:")?;
    Some(groups().into_iter().fold(free, u64::min))
}

/// Bytes that the program has in memory now, mapped files not counted.
pub fn own() -> Option<u64> {
    field(&read("/proc/self/status")?, "RssAnon:")
}

/// Has large pieces of memory go back to the system when they are freed. glibc would by and by keep all that are smaller
/// than 32 MB: a text encoder's weights would still be in memory, unused, when the picture is decoded.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn mallopt(parameter: i32, value: i32) -> i32;
        }
        const M_MMAP_THRESHOLD: i32 = -3;
        // SAFETY: declared as in malloc.h; it may be called at any time, and refuses what it does not know.
        unsafe { mallopt(M_MMAP_THRESHOLD, 128 << 10) };
    }
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// A line of `/proc`, which counts in units of 1024 bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// What the control groups leave, of either version; nothing where none sets a limit.
fn groups() -> Vec<u64> {
    let mut left = Vec::new();
    for line in read("/proc/self/cgroup").unwrap_or_default().lines() {
        // `4:memory:/some/group`, or `0::/some/group` of version 2.
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(kind), Some(group)) = (parts.next(), parts.next()) else { continue };
        let (root, files) = match kind {
            "" => ("/sys/fs/cgroup", ["memory.max", "memory.current", "memory.stat"]),
            "memory" => ("/sys/fs/cgroup/memory", ["memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat"]),
            _ => continue,
        };
        // A group within a group: each has its limit. In a container, the root may be the group itself.
        let mut group = group.trim_end_matches('/');
        loop {
            left.extend(in_group(&format!("{root}{group}"), files));
            let Some((parent, _)) = group.rsplit_once('/') else { break };
            group = parent;
        }
    }
    left
}

fn in_group(folder: &str, [limit, used, stat]: [&str; 3]) -> Option<u64> {
    let number = |file: &str| read(&format!("{folder}/{file}"))?.trim().parse::<u64>().ok();
    // Pages of files that the system takes back when it needs them.
    let stat = read(&format!("{folder}/{stat}")).unwrap_or_default();
    let file = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse().ok()).unwrap_or(0);
    let used = number(used)?.saturating_sub(file);
    // No limit is the word `max`, or a number that is more than any machine has.
    number(limit).map(|limit| limit.saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc() {
        let text = "MemTotal:       24600000 kB\nMemAvailable:   1024 kB\n";
        assert_eq!(field(text, "MemAvailable:"), Some(1 << 20));
        assert_eq!((field(text, "MemFree:"), field("MemAvailable: x", "MemAvailable:")), (None, None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_system_says_it() {
        let total = field(&read("/proc/meminfo").unwrap(), "MemTotal:").unwrap();
        assert!(free().unwrap() <= total && own().unwrap() < total);
    }
}
