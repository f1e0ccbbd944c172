mod forms;
mod refused;

use super::super::zonefile::read_text;
use super::*;
use forms::FORMS;
use proptest::prelude::*;
use rstest::rstest;
use std::path::Path;

/// Reads a record at `www.example.`; its type and data, or what is wrong, with the column.
fn read(record: &str) -> Result<(u16, Vec<u8>), String> {
    let mut found = None;
    let text = format!("www 60 {record}\n");
    let reading = read_text(Path::new("z"), text.as_bytes(), Some(b"\x07example\0"), &mut |record| {
        found = Some((record.rtype, record.rdata.to_vec()));
        Ok(())
    });
    reading.result.map_err(|error| error.to_string())?;
    found.ok_or_else(|| "no record".to_owned())
}

/// A record in presentation form.
fn present(rtype: u16, rdata: &[u8]) -> String {
    let mut text = format!("{} ", mnemonic(rtype));
    record_type(rtype).present(rdata, &mut text);
    text
}

fn hex(digits: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(digits.as_bytes()).unwrap()
}

#[test]
fn every_type_reads_to_the_bytes_that_bind_gives() {
    for &(rtype, text, bytes) in FORMS {
        assert_eq!(read(text), Ok((rtype, hex(bytes))), "{text}");
    }
}

#[test]
fn every_type_has_a_form_here() {
    for number in 1..=u16::MAX {
        let kind = record_type(number);
        if !kind.mnemonic.is_empty() && !kind.is_meta() {
            assert!(FORMS.iter().any(|&(rtype, ..)| rtype == number), "{}", kind.mnemonic);
            assert_eq!(by_name(kind.mnemonic.to_ascii_lowercase().as_bytes()), Some(number));
        }
        assert_eq!(by_name(format!("TYPE{number}").as_bytes()), Some(number));
        assert_eq!(by_name(mnemonic(number).to_string().as_bytes()), Some(number));
    }
}

#[test]
fn what_is_presented_reads_to_the_same_data() {
    for &(rtype, text, bytes) in FORMS {
        let data = (rtype, hex(bytes));
        let presented = present(rtype, &data.1);
        assert_eq!(read(&presented), Ok(data.clone()), "{text} as {presented}");
        let mut opaque = format!("TYPE{rtype} ");
        present::opaque(&data.1, &mut opaque);
        assert_eq!(read(&opaque), Ok(data), "{text} as {opaque}");
    }
}

/// Only these read the same however much is missing, or take whatever follows.
#[test]
fn data_that_is_cut_is_refused_or_has_a_form() {
    for &(rtype, text, bytes) in FORMS {
        let whole = hex(bytes);
        for length in 0..whole.len() {
            let cut = &whole[..length];
            let checked = record_type(rtype).check(cut);
            if checked.is_ok() {
                assert_eq!(read(&present(rtype, cut)), Ok((rtype, cut.to_vec())), "{text} cut to {length}");
            }
        }
    }
}

#[rstest]
#[case::in_quotes_where_needed(16, "0161022062", r#"TXT "a" " b""#)]
#[case::escapes(16, "0522615c07e9", r#"TXT "\"a\\\007\233""#)]
#[case::name(2, "0561402e3b24033c3e2a00", r"NS a\@\.\;\$.<>*.")]
#[case::root(2, "00", "NS .")]
#[case::dates(
    46,
    "0001080300000e105e0be100ffffffff00010000",
    "RRSIG A 8 3 3600 20200101000000 21060207062815 1 . AA=="
)]
#[case::location(29, "003316138b2878f86dd070be15f0989680", "\\# 17 003316138B2878F86DD070BE15F0989680")]
#[case::types(47, "00000140010140", "NSEC . A CAA")]
#[case::parameters(
    65,
    "000100000100070368322c025c330003000201bb00080000029a00022061",
    "HTTPS 1 . alpn=\"h2\\\\,,\\\\\\\\3\" port=443 ohttp key666=\" a\""
)]
#[case::malformed(1, "c00002", "A \\# 3 C00002")]
#[case::nothing(42, "", "APL \\# 0")]
#[case::unknown(65_000, "ab", "TYPE65000 \\# 1 AB")]
fn presents(#[case] rtype: u16, #[case] bytes: &str, #[case] expected: &str) {
    let bytes = hex(&bytes.replace(' ', ""));
    let presented = present(rtype, &bytes);
    assert!(presented == expected || presented.ends_with(expected), "{presented}");
}

#[rstest]
#[case::a(1, (0, 0))]
#[case::ns(2, (0, 1))]
#[case::soa(6, (0, 2))]
#[case::minfo(14, (0, 2))]
#[case::mx(15, (2, 1))]
#[case::rp(17, (0, 0))]
#[case::srv(33, (0, 0))]
#[case::dname(39, (0, 0))]
#[case::unknown(65_000, (0, 0))]
fn knows_which_names_may_be_compressed(#[case] rtype: u16, #[case] expected: (usize, usize)) {
    assert_eq!(record_type(rtype).compressible(), expected);
}

#[rstest]
#[case::name("NS A.", "NS a.")]
#[case::behind_a_number("MX 1 A.", "MX 1 a.")]
#[case::between("SOA A. B. 65 66 67 68 69", "SOA a. b. 65 66 67 68 69")]
#[case::behind_strings("NAPTR 1 2 \"U\" \"S\" \"R\" A.", "NAPTR 1 2 \"U\" \"S\" \"R\" a.")]
#[case::signer("RRSIG A 8 3 60 1 1 1 A. QUFB", "RRSIG A 8 3 60 1 1 1 a. QUFB")]
#[case::behind_a_prefix("A6 64 ::41 A.", "A6 64 ::41 a.")]
#[case::next_name_is_kept("NSEC A. A", "NSEC A. A")]
#[case::target_is_kept("SVCB 1 A.", "SVCB 1 A.")]
#[case::strings_are_kept("TXT A", "TXT A")]
fn folds_what_rfc_4034_says(#[case] given: &str, #[case] expected: &str) {
    let (rtype, mut rdata) = read(given).unwrap();
    record_type(rtype).fold_names(&mut rdata);
    assert_eq!(Ok((rtype, rdata)), read(expected));
}

proptest! {
    /// Of data made out of valid data by changing, adding and removing bytes, what passes the check can be presented and
    /// read again.
    #[test]
    fn presented_data_reads_to_the_same(
        form in 0..FORMS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 0..6),
    ) {
        let (rtype, _, bytes) = FORMS[form];
        let mut rdata = hex(bytes);
        for (at, byte, kind) in changes {
            let at = at.index(rdata.len() + 1);
            match kind {
                0 => rdata.insert(at, byte),
                1 if at < rdata.len() => rdata[at] = byte,
                _ if at < rdata.len() => drop(rdata.remove(at)),
                _ => {}
            }
        }
        if record_type(rtype).check(&rdata).is_ok() {
            let presented = present(rtype, &rdata);
            prop_assert_eq!(read(&presented), Ok((rtype, rdata.clone())), "{}", presented);
            let mut folded = rdata.clone();
            record_type(rtype).fold_names(&mut folded);
            prop_assert_eq!(record_type(rtype).check(&folded), Ok(()));
            prop_assert!(folded.eq_ignore_ascii_case(&rdata));
        }
    }
}
