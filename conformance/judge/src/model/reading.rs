//! Parses manifests for the model: the checks of oci.md rows 84-98, and the data for answers.

use serde_json::Value;

use crate::model::content::{Grammar, grammar};

pub const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// A valid manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    pub media_type: String,
    pub subject: Option<Need>,
    /// As shown by the referrers API.
    pub artifact_type: Option<String>,
    pub annotations: Option<Value>,
    /// Config, layers and children that must exist. Layers with `urls` are left out.
    pub needs: Vec<Need>,
}

/// The digest and stated size of a descriptor.
#[derive(Clone, Debug, PartialEq)]
pub struct Need {
    pub digest: String,
    pub size: u64,
}

/// Parses a manifest sent with a `Content-Type`; `None`: 400 `MANIFEST_INVALID`.
pub fn read(body: &[u8], content_type: Option<&str>) -> Option<Reading> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let map = value.as_object()?;
    if map.get("schemaVersion")?.as_u64() != Some(2) {
        return None;
    }
    let media_type = media_type(&value, content_type)?;
    let is_image = matches!(media_type.as_str(), IMAGE | DOCKER_IMAGE);
    let mut needs = Vec::new();
    if is_image {
        needs.push(descriptor(map.get("config")?)?);
        for layer in map.get("layers")?.as_array()? {
            let need = descriptor(layer)?;
            if !has_urls(layer) {
                needs.push(need);
            }
        }
    } else {
        for child in map.get("manifests")?.as_array()? {
            needs.push(descriptor(child)?);
        }
    }
    if contradicts_itself(&needs) {
        return None;
    }
    let subject = match map.get("subject") {
        Some(subject) => Some(descriptor(subject)?),
        None => None,
    };
    Some(Reading {
        artifact_type: artifact_type(&value, is_image),
        annotations: map.get("annotations").cloned(),
        media_type,
        subject,
        needs,
    })
}

/// True if one digest has two sizes, whether or not its content exists.
fn contradicts_itself(needs: &[Need]) -> bool {
    let differs = |a: &Need, b: &Need| a.digest == b.digest && a.size != b.size;
    needs.iter().enumerate().any(|(i, a)| needs[i + 1..].iter().any(|b| differs(a, b)))
}

fn media_type(value: &Value, content_type: Option<&str>) -> Option<String> {
    let inner = value.get("mediaType").map(|inner| inner.as_str());
    let outer = content_type.map(|text| text.split(';').next().unwrap_or("").trim());
    let chosen = match (inner, outer) {
        (Some(inner), Some(outer)) => (inner? == outer).then_some(outer)?,
        (Some(inner), None) => inner?,
        (None, Some(outer)) => outer,
        (None, None) if value.get("manifests").is_some() => INDEX,
        (None, None) if value.get("layers").is_some() => IMAGE,
        (None, None) => return None,
    };
    [IMAGE, INDEX, DOCKER_IMAGE, DOCKER_LIST].contains(&chosen).then(|| chosen.to_owned())
}

fn artifact_type(value: &Value, is_image: bool) -> Option<String> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let own = value.get("artifactType").and_then(text);
    let config = || value.get("config")?.get("mediaType").and_then(text);
    own.or_else(|| if is_image { config() } else { None })
}

fn has_urls(layer: &Value) -> bool {
    let urls = layer.get("urls").and_then(Value::as_array).is_some_and(|urls| !urls.is_empty());
    let kind = layer.get("mediaType").and_then(Value::as_str).unwrap_or("");
    urls && (kind.contains("nondistributable") || kind.contains("foreign"))
}

fn descriptor(value: &Value) -> Option<Need> {
    let digest = value.get("digest")?.as_str()?;
    let size = value.get("size")?.as_i64().and_then(|size| u64::try_from(size).ok())?;
    (grammar(digest) != Grammar::Malformed).then(|| Need { digest: digest.to_owned(), size })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn image(extra: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,{extra}"config":{{"mediaType":"a/b","digest":"{DIGEST}","size":0}},"layers":[]}}"#
        )
    }

    #[test]
    fn an_image_needs_its_config_and_lends_its_type() {
        let reading = read(image("").as_bytes(), Some(&format!("{IMAGE}; charset=utf-8"))).unwrap();
        assert_eq!(reading.media_type, IMAGE);
        assert_eq!(reading.artifact_type.as_deref(), Some("a/b"));
        assert_eq!(reading.needs, [Need { digest: DIGEST.to_owned(), size: 0 }]);
    }

    #[test]
    fn the_type_is_the_headers_or_the_bodys_or_the_shapes() {
        let typed = image(&format!("\"mediaType\":\"{IMAGE}\","));
        assert!(read(typed.as_bytes(), None).is_some());
        assert!(read(typed.as_bytes(), Some(INDEX)).is_none(), "they must agree");
        assert!(read(image("").as_bytes(), None).is_some(), "layers make an image");
        assert!(read(image("").as_bytes(), Some("text/plain")).is_none());
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for body in ["", "[]", "{}", "{\"schemaVersion\":2", &image("").replace('2', "1"), &format!("{} x", image(""))]
        {
            assert!(read(body.as_bytes(), Some(IMAGE)).is_none(), "{body}");
        }
        assert!(read(image("").replace(":0", ":-1").as_bytes(), Some(IMAGE)).is_none(), "a size below zero");
    }

    #[test]
    fn foreign_layers_with_urls_need_not_be_there() {
        let layer = format!(
            r#"[{{"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar","digest":"{DIGEST}","size":1,"urls":["http://x"]}}]"#
        );
        let reading = read(image("").replace("[]", &layer).as_bytes(), Some(IMAGE)).unwrap();
        assert_eq!(reading.needs.len(), 1, "the config only");
    }
}
