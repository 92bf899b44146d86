//! Users and groups of a root file system: `/etc/passwd` and `/etc/group`.

use crate::error::StepError;

/// A user as a step runs with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user's number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The home directory; `/` where the user has no entry.
    pub home: String,
}

/// The text of the two files; empty where a root file system has none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accounts {
    pub(crate) passwd: String,
    pub(crate) group: String,
}

struct PasswdLine<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl Accounts {
    /// Finds the user of `USER`: `name`, `uid`, and either with `:group` or `:gid`.
    ///
    /// As in Docker, a user without a group gets the group of its entry and its supplementary
    /// groups; with an explicit group it gets that one alone. A number needs no entry.
    pub(crate) fn user(&self, spec: &str) -> Result<Account, StepError> {
        let (user, group) = match spec.split_once(':') {
            Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
            None => (spec, None),
        };
        let user = if user.is_empty() { "0" } else { user };
        let line = self.passwd_line(user);
        let uid = match (&line, user.parse::<u32>()) {
            (Some(line), _) => line.uid,
            (None, Ok(uid)) => uid,
            (None, Err(_)) => return Err(unknown("user", user, "/etc/passwd")),
        };
        let (gid, groups) = match (group, &line) {
            (Some(group), _) => (self.gid(group)?, Vec::new()),
            (None, Some(line)) => (line.gid, self.supplementary(line.name, line.gid)),
            (None, None) => (0, Vec::new()),
        };
        let home = line.map_or("/", |line| line.home);
        Ok(Account {
            uid,
            gid,
            groups,
            home: if home.is_empty() { "/" } else { home }.to_owned(),
        })
    }

    /// Finds the owner of `--chown`. As in BuildKit, a user alone also gives the group: that of
    /// its entry, or the same number.
    pub(crate) fn owner(&self, spec: &str) -> Result<(u32, u32), StepError> {
        let (user, group) = match spec.split_once(':') {
            Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
            None => (spec, None),
        };
        let (uid, own_gid) = match user.parse::<u32>() {
            Ok(uid) => (uid, uid),
            Err(_) if user.is_empty() => (0, 0),
            Err(_) => {
                let line = self
                    .passwd_line(user)
                    .ok_or_else(|| unknown("user", user, "/etc/passwd"))?;
                (line.uid, line.gid)
            }
        };
        Ok((uid, group.map_or(Ok(own_gid), |group| self.gid(group))?))
    }

    fn gid(&self, group: &str) -> Result<u32, StepError> {
        if let Ok(gid) = group.parse() {
            return Ok(gid);
        }
        self.group_lines()
            .find(|(name, _, _)| *name == group)
            .map(|(_, gid, _)| gid)
            .ok_or_else(|| unknown("group", group, "/etc/group"))
    }

    fn supplementary(&self, user: &str, own_gid: u32) -> Vec<u32> {
        let mut groups: Vec<u32> = self
            .group_lines()
            .filter(|(_, gid, members)| *gid != own_gid && members.split(',').any(|m| m == user))
            .map(|(_, gid, _)| gid)
            .collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// A name wins over a number: an entry may be named with digits.
    fn passwd_line(&self, user: &str) -> Option<PasswdLine<'_>> {
        let uid = user.parse::<u32>().ok();
        let lines = || self.passwd.lines().filter_map(parse_passwd_line);
        lines()
            .find(|line| line.name == user)
            .or_else(|| uid.and_then(|uid| lines().find(|line| line.uid == uid)))
    }

    fn group_lines(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty())?;
            let gid = fields.nth(1)?.parse().ok()?;
            Some((name, gid, fields.next().unwrap_or_default()))
        })
    }
}

fn parse_passwd_line(line: &str) -> Option<PasswdLine<'_>> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(PasswdLine {
        name,
        uid,
        gid,
        home: fields.nth(1).unwrap_or_default(),
    })
}

fn unknown(kind: &'static str, name: &str, file: &'static str) -> StepError {
    StepError::UnknownUser {
        kind,
        name: name.to_owned(),
        file,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0:root:/root:/bin/sh\n# a comment\nbroken\n\
                     node:x:1000:1001::/home/node:/bin/sh\nnohome:x:7:7\n12:x:13:14::/twelve:\n"
                .to_owned(),
            group: "root:x:0:\nnode:x:1001:\naudio:x:29:other,node\nvideo:x:44:node\nbad\n"
                .to_owned(),
        }
    }

    #[test]
    fn user_of_a_step() {
        let cases: &[(&str, u32, u32, &[u32], &str)] = &[
            ("", 0, 0, &[], "/root"),
            ("root", 0, 0, &[], "/root"),
            ("node", 1000, 1001, &[29, 44], "/home/node"),
            ("1000", 1000, 1001, &[29, 44], "/home/node"),
            ("node:audio", 1000, 29, &[], "/home/node"),
            ("node:", 1000, 1001, &[29, 44], "/home/node"),
            ("node:5", 1000, 5, &[], "/home/node"),
            ("4242", 4242, 0, &[], "/"),
            ("4242:4243", 4242, 4243, &[], "/"),
            ("nohome", 7, 7, &[], "/"),
            ("12", 13, 14, &[], "/twelve"),
        ];
        for (spec, uid, gid, groups, home) in cases {
            let account = accounts().user(spec).unwrap();
            let expected = Account {
                uid: *uid,
                gid: *gid,
                groups: groups.to_vec(),
                home: (*home).to_owned(),
            };
            assert_eq!(account, expected, "USER {spec}");
        }
    }

    #[test]
    fn owner_of_a_copy() {
        let cases = [
            ("node", (1000, 1001)),
            ("node:node", (1000, 1001)),
            ("node:audio", (1000, 29)),
            ("5", (5, 5)),
            ("5:6", (5, 6)),
            (":6", (0, 6)),
            ("0", (0, 0)),
        ];
        for (spec, expected) in cases {
            assert_eq!(accounts().owner(spec).unwrap(), expected, "--chown={spec}");
        }
    }

    #[test]
    fn unknown_names_say_where_they_were_looked_up() {
        let message = accounts().user("nodo").unwrap_err().to_string();
        assert!(
            message.contains("\"nodo\"") && message.contains("/etc/passwd"),
            "{message}"
        );
        let message = accounts().owner("node:nodo").unwrap_err().to_string();
        assert!(
            message.contains("group") && message.contains("/etc/group"),
            "{message}"
        );
        assert!(Accounts::default().user("node").is_err());
    }
}
