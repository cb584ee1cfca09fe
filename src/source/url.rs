//! Prepares a database URL: handles parameters that the PostgreSQL client does not know, or would weaken.

use super::link::Problem;

/// Parameters of other clients that have no meaning here: the runtime trusts public certificate authorities, whatever
/// file a URL names, and always sends the host name.
const IGNORED: [&str; 3] = ["sslrootcert", "sslsni", "gssencmode"];

/// The URL for the client. `verify-ca` and `verify-full` become `require`: the runtime checks authority and host name
/// of every certificate.
///
/// # Errors
/// [`Problem::NoChannelBinding`] if it requires channel binding: the runtime's sockets do not expose the certificate.
pub fn readable(url: &str) -> Result<String, Problem> {
    let Some((address, query)) = url.trim().split_once('?') else { return Ok(url.trim().to_owned()) };
    let mut parameters = Vec::new();
    for parameter in query.split('&') {
        match parameter.split_once('=').unwrap_or((parameter, "")) {
            ("channel_binding", "require") => return Err(Problem::NoChannelBinding),
            ("sslmode", "verify-ca" | "verify-full") => parameters.push("sslmode=require"),
            ("sslmode", "allow") => parameters.push("sslmode=prefer"),
            (name, _) if IGNORED.contains(&name) => {}
            _ => parameters.push(parameter),
        }
    }
    Ok(match parameters.is_empty() {
        true => address.to_owned(),
        false => format!("{address}?{}", parameters.join("&")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_always_verified() {
        for mode in ["verify-ca", "verify-full", "require"] {
            let url = format!("postgres://u:p@h/d?sslmode={mode}&sslrootcert=/root.crt&application_name=a");
            assert_eq!(readable(&url).as_deref(), Ok("postgres://u:p@h/d?sslmode=require&application_name=a"));
        }
        assert_eq!(readable("postgres://u:p@h/d?sslrootcert=system").as_deref(), Ok("postgres://u:p@h/d"));
        assert_eq!(readable("postgres://u:p@h/d?sslmode=disable").as_deref(), Ok("postgres://u:p@h/d?sslmode=disable"));
        assert_eq!(readable("postgres://u:p@h/d?sslmode=allow").as_deref(), Ok("postgres://u:p@h/d?sslmode=prefer"));
    }

    #[test]
    fn channel_binding_that_is_demanded_is_refused_and_not_dropped() {
        let url = "postgres://u:p@h/d?sslmode=require&channel_binding=require";
        assert_eq!(readable(url), Err(Problem::NoChannelBinding));
        let url = "postgres://u:p@h/d?channel_binding=prefer";
        assert_eq!(readable(url).as_deref(), Ok(url));
    }
}
