//! The file served for a path.

use super::*;

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn a_raw_file_is_at_the_root_alone() {
    let portal = TestPortal::new();
    let link = portal.upload_raw("a.txt", b"content").await;
    for target in [
        format!("/{link}"),
        format!("/{link}/"),
        format!("/skynet/skylink/{link}"),
        format!("/{}", link.to_base32()),
        format!("/skynet/skylink/{}/", link.to_base32()),
    ] {
        assert_eq!(portal.fetch(&target).await, (200, "content".to_owned()), "{target}");
    }
    for target in [format!("/{link}/a.txt"), format!("/{link}/x")] {
        let (status, body) = portal.fetch(&target).await;
        assert_eq!(status, 404, "{target}");
        assert!(body.contains("failed to download contents for path: /"), "{body}");
    }
}

#[tokio::test]
async fn a_lone_subfile_is_at_the_root_and_at_its_path() {
    let portal = TestPortal::new();
    let link = portal.upload_directory(&[("docs/a.txt", "text/x-a", "content")], |_| ()).await;
    for rest in ["", "/", "/docs/a.txt"] {
        let response = portal.get(&format!("/{link}{rest}")).await;
        assert_eq!(header(&response, "content-type"), "text/x-a", "{rest}");
        assert_eq!(header(&response, "content-disposition"), "inline; filename=\"a.txt\"", "{rest}");
        assert_eq!(text(response).await, "content", "{rest}");
    }
    assert_eq!(portal.fetch(&format!("/{link}/a.txt")).await.0, 404);
}

#[tokio::test]
async fn a_directory_with_an_index_is_an_app() {
    let portal = TestPortal::new();
    let link = portal.upload_directory(&APP, |_| ()).await;
    for (rest, content) in [
        ("/", "<h1>hello</h1>"),
        ("/index.html", "<h1>hello</h1>"),
        ("/css/style.css", "body {}"),
        ("//about.html", "about"),
    ] {
        assert_eq!(portal.fetch(&format!("/{link}{rest}")).await, (200, content.to_owned()), "{rest}");
    }
    assert_eq!(portal.fetch(&format!("/{link}/missing")).await.0, 404);
}

#[tokio::test]
async fn an_app_without_its_slash_is_sent_there() {
    let portal = TestPortal::new();
    let link = portal.upload_directory(&APP, |_| ()).await;
    let response = portal.get(&format!("/{link}?a=b&c")).await;
    assert_eq!(response.status(), 308);
    // A relative location is right below /skynet/skylink/ and behind a proxy, too.
    assert_eq!(header(&response, "location"), format!("{link}/?a=b&c"));
    assert_eq!(header(&response, "skynet-skylink"), link.to_string());
    assert_eq!(portal.get(&format!("/skynet/skylink/{link}")).await.status(), 308);
    assert_eq!(portal.request("HEAD", &format!("/{link}"), &[]).await.status(), 200);
    assert_eq!(portal.get(&format!("/{link}?attachment=true")).await.status(), 200);
    assert_eq!(portal.get(&format!("/{link}?format=concat")).await.status(), 200);
    assert_eq!(portal.get(&format!("/{link}/css")).await.status(), 200, "only the root has a default page");
    let lone = portal.upload_directory(&APP[..1], |_| ()).await;
    assert_eq!(portal.get(&format!("/{lone}")).await.status(), 200);
    let plain = portal.upload_directory(&APP[..2], |_| ()).await;
    assert_eq!(portal.get(&format!("/{plain}")).await.status(), 200, "an archive needs no slash");
}

/// The table of skyd's `testTryFiles_TableTests`.
#[tokio::test]
async fn tryfiles_and_error_pages_are_served_as_skyd_serves_them() {
    let files = [
        ("404.html", "", "custom not found"),
        ("about/index.html", "", "about index"),
        ("img/image.png", "", "image"),
        ("index.html", "", "main index"),
        ("news/good-news/index.html", "", "good news"),
    ];
    let portal = TestPortal::new();
    let everywhere = ["good-news/index.html", "index.html", "/index.html"];
    let (per_directory, deep) = (["index.html", "good-news/index.html"], ["good-news/index.html"]);
    for (try_files, rows) in [
        (
            &everywhere[..],
            &[
                ("/", 200, "main index"),
                ("/about", 200, "about index"),
                ("/news/noexist.html", 200, "main index"),
                ("/news/bad-news", 200, "main index"),
                ("/news/good-news", 200, "good news"),
                ("/img/noexist.png", 200, "main index"),
            ][..],
        ),
        (
            &per_directory[..],
            &[
                ("/", 200, "main index"),
                ("/index.html", 200, "main index"),
                ("/about", 200, "about index"),
                ("/about/index.html", 200, "about index"),
                ("/news/noexist.html", 404, "custom not found"),
                ("/news/bad-news", 404, "custom not found"),
                ("/news/good-news", 200, "good news"),
            ][..],
        ),
        (
            &deep[..],
            &[
                ("/", 200, "PK"),
                ("/index.html", 200, "main index"),
                ("/about", 200, "PK"),
                ("/news/noexist.html", 404, "custom not found"),
                ("/news", 200, "good news"),
                ("/news/good-news", 200, "PK"),
            ][..],
        ),
    ] {
        let link = portal
            .upload_directory(&files, |metadata| {
                metadata.try_files = strings(try_files);
                metadata.error_pages.insert(404, "/404.html".to_owned());
            })
            .await;
        for (rest, status, content) in rows {
            let response = portal.get(&format!("/{link}{rest}")).await;
            assert_eq!(response.status(), *status, "{try_files:?} {rest}");
            let body = bytes(response).await;
            assert!(body.starts_with(content.as_bytes()), "{try_files:?} {rest}: {}", body.escape_ascii());
        }
    }
}

#[tokio::test]
async fn an_error_page_has_its_type_and_no_tag() {
    let portal = TestPortal::new();
    let error_pages = |metadata: &mut Metadata| drop(metadata.error_pages.insert(404, "/about.html".to_owned()));
    let link = portal.upload_directory(&APP, error_pages).await;
    let response = portal.get(&format!("/{link}/missing")).await;
    assert_eq!(response.status(), 404);
    assert_eq!(header(&response, "content-type"), "text/html");
    assert_eq!(header(&response, "content-length"), "5");
    assert_eq!(header(&response, "etag"), "");
    assert_eq!(header(&response, "cache-control"), "no-cache");
    assert_eq!(header(&response, "content-security-policy"), "sandbox");
    assert_eq!(text(response).await, "about");
}

#[tokio::test]
async fn paths_are_decoded_as_forms_are() {
    let portal = TestPortal::new();
    let link = portal.upload_directory(&[("a b é?.txt", "", "1"), ("c+d", "", "2"), ("e", "", "3")], |_| ()).await;
    for rest in ["/a%20b%20%C3%A9%3F.txt", "/a+b+%c3%a9%3f.txt"] {
        assert_eq!(portal.fetch(&format!("/{link}{rest}")).await, (200, "1".to_owned()), "{rest}");
    }
    for rest in ["/c%2Bd", "/c+d"] {
        assert_eq!(portal.fetch(&format!("/{link}{rest}")).await, (200, "2".to_owned()), "{rest}");
    }
    for rest in ["/%", "/%zz"] {
        assert_eq!(portal.fetch(&format!("/{link}{rest}")).await.0, 400, "{rest}");
    }
    for rest in ["/%2E%2E/e", "/../e", "/%00", "/%ff", "/%0d%0aX: y"] {
        let target = format!("/{link}{}", rest.replace(' ', "%20"));
        assert_eq!(portal.fetch(&target).await.0, 404, "{rest}");
    }
}

#[tokio::test]
async fn what_is_no_skylink_is_refused() {
    let portal = TestPortal::new();
    let (v1, v2) = ("AACa5S94r4CHMshi4MCclYYoqW3IwMIpRXEcaBdUBpR4DA", "AQDwh1jnoZas9LaLHC_D4-2yP9XYDdZzNtz62H4Dww1jDA");
    for (target, status) in [
        ("/skynet/skylink/nonsense".to_owned(), 400),
        ("/skynet/skylink/".to_owned(), 400),
        ("/skynet/metadata/nonsense".to_owned(), 400),
        // A skylink of a version that does not exist.
        (format!("/Ag{}", &v1[2..]), 400),
        ("/favicon.ico".to_owned(), 404),
        (format!("/{v1}"), 404),
        (format!("/skynet/metadata/{v1}"), 404),
        (format!("/{v2}"), 404),
    ] {
        let (answered, body) = portal.fetch(&target).await;
        assert_eq!(answered, status, "{target}");
        assert!(body.starts_with("{\"message\":\""), "{body}");
    }
    let response = portal.request("POST", &format!("/{v1}"), &[]).await;
    assert_eq!((response.status().as_u16(), header(&response, "allow")), (405, "GET, HEAD"));
}
