//! A headless Chromium, and pages on which it says what it got.

use std::fmt::Write as _;

use crate::netns::{Netns, text};

/// An image, `/drawing.svg`, that [`page`] shows.
pub const DRAWING: &str =
    "<svg xmlns='http://www.w3.org/2000/svg' width='30' height='20'><rect width='30' height='20'/></svg>";

/// Fetches what is named and shows an image, then says of each what came.
const PAGE: &str = "<!doctype html><meta charset=utf-8><link rel=icon href=data:,><img src=/drawing.svg>
<p id=result>waiting</p><script>
const paths = PATHS;
const hash = bytes => bytes.reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193) >>> 0, 0x811c9dc5);
const fetched = async path => {
  const answer = await fetch(path, {cache: 'no-store'});
  const bytes = new Uint8Array(await answer.arrayBuffer());
  return [path, answer.status, answer.redirected, answer.headers.get('content-type'), bytes.length, hash(bytes)].join(' ');
};
const image = document.images[0];
Promise.all([image.decode(), ...paths.map(fetched)]).then(
  ([_, ...all]) => result.textContent =
    ['drawing ' + image.naturalWidth + ' by ' + image.naturalHeight, ...all, 'complete'].join('; '),
  error => result.textContent = String(error));
</script>";

/// A page that says of each of these paths what came: status, type, bytes and their hash (FNV-1a).
pub fn page(paths: &[String]) -> String {
    let mut list = String::from("[");
    for path in paths {
        let _ = write!(list, "'{path}',");
    }
    list.push(']');
    PAGE.replace("PATHS", &list)
}

/// The page at `url` as it is in the end, its scripts left out.
pub fn shows(client: &Netns, url: &str) -> String {
    let profile = tempfile::tempdir().expect("a directory");
    let shown = client.attempt(&format!(
        "timeout --kill-after 5 600 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-proxy-server \
         --disable-background-networking --no-first-run --user-data-dir={} --virtual-time-budget=30000 --dump-dom {url}",
        profile.path().display(),
    ));
    let shown = text(&shown.stdout);
    let (_, result) = shown.split_once("id=\"result\">").unwrap_or_else(|| panic!("no such page: {shown}"));
    let result = result.split("</p>").next().unwrap_or_default().to_owned();
    assert!(result.ends_with("; complete"), "{result}");
    result
}
