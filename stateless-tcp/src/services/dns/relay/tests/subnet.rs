//! The client subnet option (RFC 7871).

use super::*;

/// The client's option, the one that the upstream gets, and whether the client gets the upstream's.
#[rstest]
#[case::as_it_came(ClientSubnet::PassThrough, &[0, 1, 24, 0, 203, 0, 113], &[0, 1, 24, 0, 203, 0, 113], true)]
#[case::ours(ClientSubnet::FromAddress, &[0, 1, 24, 0, 203, 0, 113], &[0, 1, 24, 0, 192, 0, 2], false)]
#[case::asked_otherwise(ClientSubnet::FromClientOrAddress, &[0, 1, 24, 0, 203, 0, 113], &[0, 1, 24, 0, 203, 0, 113], true)]
#[case::none_wanted(ClientSubnet::FromAddress, &[0, 1, 0, 0], &[0, 1, 0, 0], true)]
fn ours_wins_over_what_a_client_says(
    #[case] subnet: ClientSubnet,
    #[case] said: &[u8],
    #[case] heard: &[u8],
    #[case] told: bool,
) {
    let option = |data: &[u8]| [&[0, 8, 0, u8::try_from(data.len()).unwrap()][..], data].concat();
    let mut bench = DnsBench::new(|options| options.client_subnet = subnet);
    let said = option(said);
    let opt = [&OPT[..9], &u16::try_from(said.len()).unwrap().to_be_bytes(), &said].concat();
    let ask = query(1, 0, "example.com", Some(&opt));
    let mut asked = Vec::new();
    let answer = bench.ask(&ask, |query| {
        asked = query.to_vec();
        let mut reply = query.to_vec();
        reply[2] |= 0x80;
        reply
    });
    let heard = option(heard);
    let options = [&u16::try_from(heard.len()).unwrap().to_be_bytes()[..], &heard].concat();
    assert!(asked.ends_with(&options), "{asked:?}");
    assert_eq!(answer.ends_with(&options), told, "{answer:?}");
}

#[test]
fn an_upstream_is_told_what_it_is_to_be_told() {
    let mut bench = DnsBench::new(|options| {
        (options.proxy_protocol, options.client_subnet) = (true, ClientSubnet::FromAddress);
    });
    let ask = query(1, 0, "Example.com", None);
    assert!(bench.put(&ask, FetchPolicy::MayFetch).is_err());
    let (asked, _) = bench.heard().expect("a query");
    let port = bench.port.to_be_bytes();
    let header =
        [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x01"[..], &port, &[0, 53]].concat();
    assert_eq!(asked[..header.len()], header);
    let opt = [&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 11][..], &[0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2]].concat();
    let mut expected = ask[4..].to_vec();
    expected[9] = 1;
    expected.make_ascii_lowercase();
    assert_eq!(asked[header.len() + 2..], [expected, opt].concat());
}
