//! Several files at once.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use super::*;

fn unzip(bytes: Vec<u8>) -> BTreeMap<String, String> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let count = archive.len();
    let read = |at| {
        let mut file = archive.by_index(at).unwrap();
        let mut content = String::new();
        file.read_to_string(&mut content).unwrap();
        (file.name().unwrap().to_string(), content)
    };
    (0..count).map(read).collect()
}

fn untar(bytes: impl Read) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(bytes);
    let read = |file: std::io::Result<tar::Entry<'_, _>>| {
        let mut file = file.unwrap();
        let mut content = String::new();
        file.read_to_string(&mut content).unwrap();
        (file.path().unwrap().to_str().unwrap().to_owned(), content)
    };
    archive.entries().unwrap().map(read).collect()
}

fn named<'a>(files: impl IntoIterator<Item = &'a File<'a>>) -> BTreeMap<String, String> {
    files.into_iter().map(|(name, _, content)| ((*name).to_owned(), (*content).to_owned())).collect()
}

#[tokio::test]
async fn a_directory_without_an_index_is_a_zip() {
    let portal = TestPortal::new();
    let link = portal.upload_directory(&APP[..3], |_| ()).await;
    for (target, files) in
        [(format!("/{link}"), &APP[..3]), (format!("/{link}/"), &APP[..3]), (format!("/{link}/css"), &APP[1..2])]
    {
        let response = portal.get(&target).await;
        assert_eq!(header(&response, "content-type"), "application/zip", "{target}");
        assert_eq!(unzip(bytes(response).await), named(files), "{target}");
    }
}

#[tokio::test]
async fn a_single_file_can_be_archived_too() {
    let portal = TestPortal::new();
    let raw = portal.upload_raw("a.txt", b"abc").await;
    let zip = portal.get(&format!("/{raw}?format=zip")).await;
    assert_eq!(header(&zip, "content-disposition"), "attachment; filename=\"a.txt.zip\"");
    assert_eq!(unzip(bytes(zip).await), named(&[("a.txt", "", "abc")]));
    let app = portal.upload_directory(&APP, |_| ()).await;
    let tar = bytes(portal.get(&format!("/{app}/css/style.css?format=tar")).await).await;
    assert_eq!(untar(Cursor::new(tar)), named(&APP[1..2]));
    let empty = portal.upload_raw("empty", b"").await;
    let tar = bytes(portal.get(&format!("/{empty}?format=tar")).await).await;
    assert_eq!(untar(Cursor::new(tar)), named(&[("empty", "", "")]));
}

/// skyd reads contiguous bytes from the first file on, and so sends bytes of other files.
#[tokio::test]
async fn a_directory_whose_files_lie_apart_has_their_bytes() {
    let files = [("a/1", "", "one"), ("b/2", "", "two"), ("a/3", "", "three")];
    let portal = TestPortal::new();
    let link = portal.upload_directory(&files, |_| ()).await;
    let tar = bytes(portal.get(&format!("/{link}/a?format=tar")).await).await;
    assert_eq!(untar(Cursor::new(tar)), named([&files[0], &files[2]]));
    let concat = portal.get(&format!("/{link}/a?format=concat")).await;
    assert_eq!(header(&concat, "content-type"), "text/plain; charset=utf-8");
    assert_eq!(text(concat).await, "onethree");
    let part = portal.get_with(&format!("/{link}/a?format=concat"), &[("range", "bytes=2-4")]).await;
    assert_eq!(text(part).await, "eth");
}

#[tokio::test]
async fn with_a_format_no_default_path_applies() {
    let portal = TestPortal::new();
    let link = portal.upload_directory(&APP, |metadata| metadata.try_files = vec!["/index.html".to_owned()]).await;
    assert_eq!(portal.fetch(&format!("/{link}/missing")).await.1, "<h1>hello</h1>");
    assert_eq!(portal.get(&format!("/{link}/missing?format=zip")).await.status(), 404);
}

#[tokio::test]
async fn head_of_an_archive_is_its_headers() {
    let portal = TestPortal::new();
    let link = portal.upload_directory(&APP[..2], |_| ()).await;
    let response = portal.request("HEAD", &format!("/{link}"), &[]).await;
    assert_eq!((response.status().as_u16(), header(&response, "content-type")), (200, "application/zip"));
    assert_eq!(header(&response, "content-length"), "", "nobody knows it before the end");
    assert!(bytes(response).await.is_empty());
}

#[tokio::test]
async fn beyond_so_many_archives_at_once_clients_are_told_to_come_again() {
    let portal = TestPortal::with(|options| options.max_archives = 4);
    let link = portal.upload_directory(&APP, |_| ()).await;
    let get = async || portal.get(&format!("/{link}?format=tar")).await;
    // One client does not read its archive, and one will.
    let (slow, other) = (get().await, get().await);
    let refused = get().await;
    assert_eq!(refused.status(), 429);
    assert_eq!(header(&refused, "retry-after"), "5");
    assert_eq!(portal.get(&format!("/{link}?format=concat")).await.status(), 200, "no archive is made for this");
    let etag = header(&slow, "etag").to_owned();
    bytes(other).await;
    assert_eq!(get().await.status(), 200, "a place is free when an archive was read to its end");
    let (one, two) = (get().await, get().await);
    assert_eq!((one.status().as_u16(), two.status().as_u16()), (200, 429));
    drop((slow, one));
    for _ in 0..5 {
        // Each client leaves at once, which frees its slot.
        assert_eq!(get().await.status(), 200);
    }
    assert_eq!(header(&get().await, "etag"), etag);
}
