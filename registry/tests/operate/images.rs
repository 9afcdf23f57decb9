//! `ls` and `rm` on running and stopped nodes.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::node::{INDEX, Server, folder, run, skyberth};

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test]
async fn ls_says_which_tags_platforms_and_layers_an_image_has() {
    let (_folder, data) = folder();
    let node = Server::start(&data);
    let image = node.push_image("a/b", "one", &[1; 3000]).await;
    let mut child = image.clone();
    child["platform"] = json!({ "os": "linux", "architecture": "arm64", "variant": "v8" });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [child] });
    let index = node.push_manifest("a/b", "latest", INDEX, &index).await;
    let (_, body) = node.get("/v2/a/b/manifests/one").await;
    node.ask(Method::PUT, "/v2/a/b/manifests/two", text(&image["mediaType"]), body).await;
    let image = text(&image["digest"]);
    let check = || {
        assert_eq!(run(&data, &["ls"]).with(0), "a/b\t3 tags\n");
        let said = run(&data, &["ls", &format!("a/b@{image}")]).with(0);
        assert!(said.contains("tag\tone\n") && said.contains("tag\ttwo\n"), "{said}");
        assert!(said.contains("\t2.9 KiB\there\tlayer\n"), "{said}");
        let said = run(&data, &["ls", "a/b:latest"]).with(0);
        assert!(said.starts_with(&format!("a/b:latest\t{}\t", text(&index["digest"]))), "{said}");
        let platform = said.lines().find(|line| line.ends_with("platform linux/arm64/v8")).expect(&said);
        assert!(platform.starts_with(image), "{said}");
        let objects = run(&data, &["ls", "a/b:one", "--json"]).objects(0);
        let layer = objects.iter().find(|object| object["role"] == "layer").unwrap();
        assert_eq!((layer["bytes"].as_u64(), layer["here"].as_bool()), (Some(3000), Some(true)));
        assert_eq!(objects[0]["tag"], "one");
        let tags: Vec<_> =
            objects.iter().filter(|object| object["kind"] == "tag").map(|tag| text(&tag["tag"])).collect();
        assert_eq!(tags, ["two"]);
    };
    check();
    node.terminate();
    check();
}

#[test]
fn what_is_invalid_or_not_there_is_called_so() {
    let (_folder, data) = folder();
    let _node = Server::start(&data);
    let says = |words: &[&str]| {
        let ended = run(&data, words);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        ended.err
    };
    assert!(says(&["ls", "a@sha256:1234"]).contains("invalid \"sha256:1234\": not a sha256 digest"));
    assert!(says(&["rm", "a@sha256:1234"]).contains("invalid \"sha256:1234\""));
    assert!(says(&["ls", "A:x"]).contains("invalid \"A\": not a repository name"));
    assert!(says(&["ls", "a:x"]).contains("not known"));
    assert!(says(&["rm", "a:x"]).contains("not known"));
}

#[tokio::test]
async fn rm_removes_a_tag_a_manifest_or_a_repository_running_or_stopped() {
    let (_folder, data) = folder();
    // Clients may not delete. The operator still may.
    let start = || Server::start_with(skyberth().env("SKYBERTH_REGISTRY_DELETE", "false"), "serve", &data);
    let node = start();
    for tag in ["one", "two", "three", "four"] {
        node.push_image("a", tag, tag.as_bytes()).await;
        node.push_image("b", tag, tag.as_bytes()).await;
    }
    assert_eq!(node.ask(Method::DELETE, "/v2/a/manifests/one", "", Vec::new()).await.0, StatusCode::METHOD_NOT_ALLOWED);
    let digest_of = async |node: &Server, tag: &str| {
        let tags = node.pull_all("a").await;
        tags.into_iter().find(|(found, _)| found == tag).map(|(_, digest)| digest)
    };
    let two = digest_of(&node, "two").await.unwrap();
    assert!(run(&data, &["rm", "a:one"]).with(0).contains("removed the tag a:one"));
    let removed = run(&data, &["rm", &format!("a@{two}"), "--json"]).objects(0);
    assert_eq!((text(&removed[0]["digest"]), &removed[0]["manifests"]), (two.as_str(), &json!(1)));
    let left: Vec<_> = node.pull_all("a").await.into_iter().map(|(tag, _)| tag).collect();
    assert_eq!(left, ["four", "three"]);
    let refused = run(&data, &["rm", "b"]);
    assert!(refused.code == Some(2) && refused.err.contains("--yes"), "{refused:?}");
    assert_eq!(node.pull_all("b").await.len(), 4);
    assert!(run(&data, &["rm", "b", "--yes"]).with(0).contains("removed 4 manifests of b"));
    assert_eq!(run(&data, &["ls"]).with(0), "a\t2 tags\n");
    node.kill();

    run(&data, &["rm", "a:four"]).with(0);
    let node = start();
    let left: Vec<_> = node.pull_all("a").await.into_iter().map(|(tag, _)| tag).collect();
    assert_eq!(left, ["three"]);
    run(&data, &["fsck"]).with(0);
}

#[test]
fn settings_and_collections_are_told_to_programs_too() {
    let (_folder, data) = folder();
    let checked = run(&data, &["config", "check", "--json"]).objects(0);
    let settings = checked[0]["settings"].as_array().unwrap();
    let of = |key: &str| settings.iter().find(|setting| setting["key"] == key).unwrap();
    assert_eq!((&of("storage.data")["source"], &of("gc.grace")["source"]), (&json!("flag --data"), &json!("default")));
    assert_eq!(of("storage.data")["value"], data.to_str().unwrap());
    let _node = Server::start(&data);
    let collection = run(&data, &["gc", "--dry-run", "--json"]).objects(0);
    assert_eq!(
        collection[0],
        json!({ "kind": "collection", "dry_run": true, "blobs": 0, "bytes": 0, "kept": 0, "files": 0, "uploads": 0 })
    );
}
