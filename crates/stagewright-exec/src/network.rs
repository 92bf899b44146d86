//! Networks of a step's own: the programs that connect them, and the name servers seen there.

use std::path::PathBuf;

use crate::error::ExecError;
use crate::ids::program_in_folders;
use crate::step::{Network, PASTA_NAME_SERVER};

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

/// Returns the `/etc/resolv.conf` of a network, made of the host's.
pub(crate) fn resolv_conf(network: Network, host: &[u8]) -> Vec<u8> {
    let server = match network {
        Network::Host | Network::None => return host.to_vec(),
        Network::Pasta => PASTA_NAME_SERVER,
        Network::Slirp4netns => SLIRP_NAME_SERVER,
    };
    let mut text = format!("nameserver {server}\n");
    for line in String::from_utf8_lossy(host).lines() {
        if matches!(
            line.split_whitespace().next(),
            Some("search" | "domain" | "options")
        ) {
            text += line;
            text.push('\n');
        }
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_server_is_the_one_that_the_program_answers_for() {
        let host = b"# a comment\nnameserver 127.0.0.53\nsearch example.org\noptions edns0\n";
        assert_eq!(resolv_conf(Network::Host, host), host);
        assert_eq!(resolv_conf(Network::None, host), host);
        let rest = "search example.org\noptions edns0\n";
        let found = resolv_conf(Network::Pasta, host);
        assert_eq!(
            found,
            format!("nameserver 169.254.0.1\n{rest}").into_bytes()
        );
        let found = resolv_conf(Network::Slirp4netns, host);
        assert_eq!(found, format!("nameserver 10.0.2.3\n{rest}").into_bytes());
    }
}
