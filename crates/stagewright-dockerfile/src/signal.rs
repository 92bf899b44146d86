//! Signals of `STOPSIGNAL`.

/// The names of Linux's signals, without `SIG`.
const NAMES: [&str; 37] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "RTMAX", "RTMIN", "SEGV", "STKFLT", "STOP", "SYS",
    "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "UNUSED", "URG", "USR1", "USR2", "VTALRM", "WINCH",
    "XCPU", "XFSZ",
];

/// Says whether a text names a signal: a number, or a name with or without `SIG`.
///
/// # Errors
/// A message that says what is wrong.
pub fn check_signal(text: &str) -> Result<(), String> {
    if let Ok(number) = text.parse::<u32>() {
        return match number {
            // As in BuildKit, which knows no greatest one.
            1.. => Ok(()),
            0 => Err(format!("invalid signal: {text}: numbers begin at 1")),
        };
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let known = NAMES.contains(&name)
        || ["RTMIN+", "RTMAX-"].iter().any(|prefix| {
            name.strip_prefix(prefix)
                .and_then(|n| n.parse::<u32>().ok())
                .is_some_and(|n| n < 31)
        });
    if known {
        Ok(())
    } else {
        Err(format!("invalid signal: {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals() {
        for good in ["9", "99", "SIGTERM", "term", "SIGRTMIN+3", "USR1"] {
            assert_eq!(check_signal(good), Ok(()), "{good}");
        }
        for wrong in ["0", "SIGFOO", "", "SIG"] {
            assert!(check_signal(wrong).is_err(), "{wrong}");
        }
    }
}
