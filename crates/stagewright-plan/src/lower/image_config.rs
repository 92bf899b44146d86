//! Changes of an image config that are not obvious.

/// The `PATH` of an image that sets none (BuildKit's default for Linux).
pub(crate) const PATH_DEFAULT: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Sets a variable in a list of `NAME=value`: in place, or at the end.
pub(crate) fn set_env(env: &mut Vec<String>, name: &str, value: &str) {
    let entry = format!("{name}={value}");
    let same = |entry: &&mut String| entry.split('=').next() == Some(name);
    match env.iter_mut().find(same) {
        Some(existing) => *existing = entry,
        None => env.push(entry),
    }
}

/// Splits the entries of an image's environment.
pub(crate) fn env_pairs(env: &[String]) -> impl Iterator<Item = (String, String)> {
    env.iter().map(|entry| {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        (name.to_owned(), value.to_owned())
    })
}

/// Formats a list as Docker's history shows it: `["a" "b"]`.
pub(crate) fn quoted_list(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_keeps_its_place() {
        let mut env = vec!["A=1".to_owned(), "AB=2".to_owned()];
        set_env(&mut env, "A", "x=y");
        set_env(&mut env, "C", "");
        assert_eq!(env, ["A=x=y", "AB=2", "C="]);
        let pairs: Vec<_> = env_pairs(&env).collect();
        assert_eq!(pairs[0], ("A".to_owned(), "x=y".to_owned()));
    }
}
