//! The files of conf-examples.

use std::path::{Path, PathBuf};

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Value, json};

/// Where the examples are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf-examples")
}

/// All files below a folder whose names have this ending.
pub fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, mut found): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    found.retain(|path| path.extension().is_some_and(|other| other == ending));
    found.extend(folders.iter().flat_map(|inner| files(inner, ending)));
    found.sort();
    found
}

fn json_of(node: &Yaml) -> Value {
    match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => json!(value),
        Yaml::Value(Scalar::Integer(value)) => json!(value),
        Yaml::Value(Scalar::String(value)) => json!(value),
        Yaml::Sequence(nodes) => nodes.iter().map(json_of).collect(),
        Yaml::Mapping(entries) => {
            let entry = |(key, value): (&Yaml, &Yaml)| (key.as_str().unwrap().to_string(), json_of(value));
            Value::Object(entries.iter().map(entry).collect())
        }
        other => panic!("not for Kubernetes: {other:?}"),
    }
}

/// The one document of a YAML text.
pub fn yaml(source: &str) -> Value {
    let documents = Yaml::load_from_str(source).unwrap();
    assert_eq!(documents.len(), 1, "one object to a file");
    json_of(&documents[0])
}

/// The one object of a YAML file.
pub fn object(path: &Path) -> Value {
    yaml(&std::fs::read_to_string(path).unwrap())
}
