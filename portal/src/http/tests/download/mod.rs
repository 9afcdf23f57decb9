//! Downloads, through the whole router.

mod archives;
mod conditions;
mod headers;
mod hosts;
mod isolation;
mod left_out;
mod paths;
mod ranges;
mod resolvers;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{Request, Response};
use skynet_formats::metadata::{Metadata, Subfile};
use skynet_formats::skylink::Skylink;

use super::{TestPortal, text};

/// A file of an upload: name, type, content.
type File<'a> = (&'a str, &'a str, &'a str);

/// A page, a style and an image in a folder of its own.
const APP: [File<'_>; 4] = [
    ("about.html", "text/html", "about"),
    ("css/style.css", "", "body {}"),
    ("img/logo.svg", "", "<svg/>"),
    ("index.html", "text/html", "<h1>hello</h1>"),
];

impl TestPortal {
    /// Stores content with this metadata, unchanged.
    async fn upload(&self, metadata: &Metadata, content: &[u8]) -> Skylink {
        let mut writer = self.portal.stores().unwrap().skyfiles.writer().unwrap();
        writer.write(Bytes::copy_from_slice(content)).await.unwrap();
        writer.finish(metadata.to_bytes()).await.unwrap()
    }

    /// Stores content like a raw upload.
    async fn upload_raw(&self, name: &str, content: &[u8]) -> Skylink {
        let length = content.len() as u64;
        self.upload(&Metadata { filename: name.to_owned(), length, ..Metadata::default() }, content).await
    }

    /// Stores a directory like a multipart upload, after `change` has changed its metadata.
    async fn upload_directory(&self, files: &[File<'_>], change: impl FnOnce(&mut Metadata)) -> Skylink {
        let (mut metadata, content) = directory(files);
        change(&mut metadata);
        self.upload(&metadata, content.as_bytes()).await
    }

    async fn get(&self, target: &str) -> Response<Body> {
        self.get_with(target, &[]).await
    }

    async fn get_with(&self, target: &str, headers: &[(&str, &str)]) -> Response<Body> {
        self.request("GET", target, headers).await
    }

    async fn request(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(target);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "localhost:9980");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Status and text of a GET.
    async fn fetch(&self, target: &str) -> (u16, String) {
        let response = self.get(target).await;
        (response.status().as_u16(), text(response).await)
    }
}

fn directory(files: &[File<'_>]) -> (Metadata, String) {
    let mut metadata = Metadata { filename: "app".to_owned(), ..Metadata::default() };
    let mut all = String::new();
    for (name, content_type, content) in files {
        let (offset, len) = (metadata.length, content.len() as u64);
        let (filename, content_type) = ((*name).to_owned(), (*content_type).to_owned());
        metadata.subfiles.insert(filename.clone(), Subfile { filename, content_type, offset, len, mode: 0o644 });
        metadata.length += len;
        all.push_str(content);
    }
    (metadata, all)
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn bytes(response: Response<Body>) -> Vec<u8> {
    to_bytes(response.into_body(), 1 << 24).await.unwrap().to_vec()
}
