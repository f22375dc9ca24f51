//! The kind as its tests see it: a reader that knows only that the file is JSON.

use std::fs;
use std::path::{Path, PathBuf};

use elt_destinations::conformance::Subject;
use elt_destinations::conformance::data::{Contents, Value, contents, shown};
use elt_destinations::kind::Kind;
use elt_host::{DataType, Table};
use serde_json::Value as Json;

/// A file in a folder.
pub(crate) struct JsonFile;

fn path(folder: &Path) -> PathBuf {
    folder.join("warehouse.json")
}

fn load(folder: &Path) -> Option<Json> {
    let text = fs::read(path(folder)).ok()?;
    Some(serde_json::from_slice(&text).unwrap())
}

fn value(cell: &Json, data_type: DataType) -> Value {
    match (cell, data_type) {
        (Json::Null, _) => Value::Null,
        (cell, DataType::Boolean) => Value::Bool(cell["Integer"] == 1),
        (cell, DataType::Integer) => Value::Int(cell["Integer"].as_i64().unwrap()),
        (cell, DataType::Timestamp) => Value::Time(cell["Integer"].as_i64().unwrap()),
        (cell, DataType::Double) => Value::Double(cell["Double"].as_str().unwrap().parse().unwrap()),
        (cell, DataType::Text | DataType::Json) => Value::Text(cell["Text"].as_str().unwrap().to_owned()),
    }
}

impl Subject for JsonFile {
    fn kind(&self) -> &'static dyn Kind {
        &super::json_file::KIND
    }

    fn place(&self, folder: &Path) -> String {
        format!("json:{}", path(folder).display())
    }

    fn read(&self, folder: &Path, table: &Table) -> Contents {
        let file = load(folder).unwrap_or_default();
        let rows = file["tables"][table.name()]["rows"].as_array().cloned().unwrap_or_default();
        let cells = |row: &Json| {
            let cell = |column: &elt_host::Column| shown(&value(&row["cells"][&column.name], column.data_type));
            table.columns().iter().map(cell).collect()
        };
        contents(rows.iter().map(cells).collect())
    }

    fn lose(&self, folder: &Path, table: &Table) {
        let mut file = load(folder).unwrap();
        file["tables"].as_object_mut().unwrap().remove(table.name()).unwrap();
        fs::write(path(folder), file.to_string()).unwrap();
    }

    fn unsettled(&self, folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "warehouse.json").collect()
    }
}
