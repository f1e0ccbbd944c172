//! What is told of clients' networks (RFC 7871).

use super::*;

/// What the client says of its network, and what the server hears of it and the client of what the server says to that.
#[rstest]
#[case::as_it_came(ClientSubnet::AsItCame, &[0, 1, 24, 0, 203, 0, 113], &[0, 1, 24, 0, 203, 0, 113], true)]
#[case::ours(ClientSubnet::Ours, &[0, 1, 24, 0, 203, 0, 113], &[0, 1, 24, 0, 192, 0, 2], false)]
#[case::asked_otherwise(ClientSubnet::OursIfNone, &[0, 1, 24, 0, 203, 0, 113], &[0, 1, 24, 0, 203, 0, 113], true)]
#[case::none_wanted(ClientSubnet::Ours, &[0, 1, 0, 0], &[0, 1, 0, 0], true)]
fn ours_wins_over_what_a_client_says(
    #[case] subnet: ClientSubnet,
    #[case] said: &[u8],
    #[case] heard: &[u8],
    #[case] told: bool,
) {
    let option = |data: &[u8]| [&[0, 8, 0, u8::try_from(data.len()).unwrap()][..], data].concat();
    let mut bench = Bench::new(|options| options.client_subnet = subnet);
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
