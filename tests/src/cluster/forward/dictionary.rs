//! The dictionary that header blocks of SPDY/3.1 begin with.
//!
//! Lives here: its words. Never here: the blocks (`frame`).

/// The dictionary: each word after its length, then the tail as it is.
// SPDY draft 3.1, "Name/Value Header Block"; 1423 bytes.
pub(super) fn dictionary() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1423);
    // "200 OK" is the one word with a space in it.
    for word in WORDS.split_whitespace().map(|word| word.replace('_', " ")) {
        bytes.extend_from_slice(&[0, 0, 0]);
        // No word is longer than 19.
        bytes.push(word.len() as u8);
        bytes.extend_from_slice(word.as_bytes());
    }
    bytes.extend_from_slice(TAIL.as_bytes());
    bytes
}

const WORDS: &str = "\
    options head post put delete trace accept accept-charset accept-encoding accept-language \
    accept-ranges age allow authorization cache-control connection content-base \
    content-encoding content-language content-length content-location content-md5 content-range \
    content-type date etag expect expires from host if-match if-modified-since if-none-match \
    if-range if-unmodified-since last-modified location max-forwards pragma proxy-authenticate \
    proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
    user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url \
    public set-cookie keep-alive origin";

const TAIL: &str = "\
    100101201202205206300302303304305306307402405406407408409410\
    411412413414415416417502504505203 Non-Authoritative Information204 No Content301 Moved\
    \x20Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server\
    \x20Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct\
    \x20Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun,\
    \x20GMTchunked,text/html,image/png,image/jpg,image/gif,applicat\
    ion/xml,application/xhtml+xml,text/plain,text/javascript,pub\
    licprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

#[cfg(test)]
mod tests {
    #[test]
    fn the_dictionary_is_the_one_of_the_draft() {
        let bytes = super::dictionary();
        let digest = sha1_smol::Sha1::from(&bytes).digest().to_string();
        assert_eq!(bytes.len(), 1423);
        assert_eq!(digest, "d68ca9b208de9c3754703445a22cf668a5abebb3");
    }
}
