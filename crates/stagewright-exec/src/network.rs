//! Networks of a step's own: the programs that connect them, and the name servers seen there.

use std::path::PathBuf;

use crate::error::ExecError;
use crate::ids::program_in_folders;
use crate::step::{Network, PASTA_NAME_SERVER, ResolvConf, Step};

/// Where slirp4netns answers for the host's name servers.
const SLIRP_NAME_SERVER: &str = "10.0.2.3";

/// Returns the program that connects a network; nothing for one that needs none.
pub(crate) fn program(network: Network) -> Result<Option<PathBuf>, ExecError> {
    let (name, package) = match network {
        Network::Host | Network::None => return Ok(None),
        Network::Pasta => ("pasta", "passt"),
        Network::Slirp4netns => ("slirp4netns", "slirp4netns"),
    };
    let missing = || {
        ExecError::Unsupported(format!(
            "--network={name} needs the program {name}, which is not installed: install the package {package}"
        ))
    };
    program_in_folders(name).map(Some).ok_or_else(missing)
}

/// Returns the `/etc/resolv.conf` of a step, made of the host's.
pub(crate) fn resolv_conf(step: &Step, host: &[u8]) -> Vec<u8> {
    let own = match step.network {
        Network::Host | Network::None => None,
        Network::Pasta => Some(PASTA_NAME_SERVER),
        Network::Slirp4netns => Some(SLIRP_NAME_SERVER),
    };
    let given = match &step.resolv_conf {
        ResolvConf::With(given) => Some(given),
        ResolvConf::Host | ResolvConf::Image => None,
    };
    if own.is_none() && given.is_none() {
        return host.to_vec();
    }
    let given = given.cloned().unwrap_or_default();
    let mut text = String::new();
    for server in &given.servers {
        text += &format!("nameserver {server}\n");
    }
    if let (Some(own), []) = (own, &given.servers[..]) {
        text += &format!("nameserver {own}\n");
    }
    let keeps_servers = text.is_empty();
    let mut put = |word: &str, words: &[String]| {
        if !words.is_empty() {
            text += &format!("{word} {}\n", words.join(" "));
        }
    };
    put("search", given.search.as_deref().unwrap_or_default());
    put("options", &given.options);
    for line in String::from_utf8_lossy(host).lines() {
        let stays = match line.split_whitespace().next() {
            Some("nameserver") => keeps_servers,
            Some("search" | "domain") => given.search.is_none(),
            Some("options") => given.options.is_empty(),
            _ => false,
        };
        if stays {
            text += line;
            text.push('\n');
        }
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::{NameServers, RootFs};

    const HOST: &str = "# a comment\nnameserver 127.0.0.53\nsearch example.org\noptions edns0\nsortlist 192.0.2.0\n";

    fn seen(network: Network, resolv_conf: ResolvConf) -> String {
        let mut step = Step::new(RootFs::Directory("/".into()), Vec::new());
        (step.network, step.resolv_conf) = (network, resolv_conf);
        String::from_utf8(super::resolv_conf(&step, HOST.as_bytes())).unwrap()
    }

    #[test]
    fn the_name_server_is_the_one_that_the_program_answers_for() {
        for network in [Network::Host, Network::None] {
            assert_eq!(seen(network, ResolvConf::Host), HOST);
        }
        for (network, server) in [
            (Network::Pasta, "169.254.0.1"),
            (Network::Slirp4netns, "10.0.2.3"),
        ] {
            let expected = format!("nameserver {server}\nsearch example.org\noptions edns0\n");
            assert_eq!(seen(network, ResolvConf::Host), expected);
        }
    }

    #[test]
    fn what_is_given_takes_the_place_of_what_is_there() {
        let given = |servers: &[&str], search: Option<&[&str]>, options: &[&str]| {
            let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
            ResolvConf::With(NameServers {
                servers: servers.iter().map(|text| text.parse().unwrap()).collect(),
                search: search.map(words),
                options: words(options),
            })
        };
        let two = ["192.0.2.1", "2001:db8::1"];
        for (network, given, expected) in [
            (
                Network::Host,
                given(&two, None, &[]),
                "nameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch example.org\noptions edns0\n",
            ),
            (
                Network::Pasta,
                given(&two[..1], Some(&["a", "b"]), &["ndots:2"]),
                "nameserver 192.0.2.1\nsearch a b\noptions ndots:2\n",
            ),
            (
                Network::Host,
                given(&[], Some(&[]), &[]),
                "nameserver 127.0.0.53\noptions edns0\n",
            ),
            (
                Network::Slirp4netns,
                given(&[], Some(&["a"]), &[]),
                "nameserver 10.0.2.3\nsearch a\noptions edns0\n",
            ),
        ] {
            assert_eq!(seen(network, given), expected);
        }
    }
}
