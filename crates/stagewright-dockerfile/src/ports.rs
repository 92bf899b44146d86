//! Ports of `EXPOSE`.

/// Expands `port[-port][/protocol]` words into sorted `port/protocol` texts.
///
/// An address or a host's port in front is accepted and dropped, as BuildKit does.
///
/// # Errors
/// A message that says what is wrong.
pub fn expand_ports(words: &[String]) -> Result<Vec<String>, String> {
    let mut ports = Vec::new();
    for word in words {
        let (range, protocol) = match word.split_once('/') {
            Some((range, protocol)) => (range, protocol.to_lowercase()),
            None => (word.as_str(), "tcp".to_owned()),
        };
        if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
            return Err(format!("invalid proto: {protocol}: it is tcp, udp or sctp"));
        }
        let range = range.rsplit(':').next().unwrap_or(range);
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let port = |text: &str| {
            text.parse::<u16>()
                .map_err(|_| format!("invalid containerPort: {word}"))
        };
        let (first, last) = (port(first)?, port(last)?);
        if first > last {
            return Err(format!("invalid range specified for port: {word}"));
        }
        ports.extend((first..=last).map(|port| (port, protocol.clone())));
    }
    ports.sort();
    ports.dedup();
    Ok(ports
        .into_iter()
        .map(|(port, protocol)| format!("{port}/{protocol}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_expand() {
        let expand =
            |text: &str| expand_ports(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(expand("80 53/UDP 80").unwrap(), ["53/udp", "80/tcp"]);
        assert_eq!(
            expand("8000-8002/sctp").unwrap(),
            ["8000/sctp", "8001/sctp", "8002/sctp"]
        );
        assert_eq!(expand("127.0.0.1:80:8080").unwrap(), ["8080/tcp"]);
        for wrong in ["x", "80/icmp", "9-8", "70000", ""] {
            assert!(expand(wrong).is_err(), "{wrong}");
        }
    }
}
