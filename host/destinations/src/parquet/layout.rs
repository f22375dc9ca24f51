//! The columns of a data set, and how an Arrow batch becomes rows of it.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
use arrow_array::{Array, ArrayRef, RecordBatch, TimestampMicrosecondArray, new_null_array};
use arrow_schema::{Field, FieldRef, Schema, SchemaRef};
use arrow_select::take::take;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use serde::{Deserialize, Serialize};

use elt_host::{Column, DataType, Table};

use super::error::StoreError;

/// The host's own column: when the row was last written with new values.
const SYNCED_AT: &str = "_synced_at";
/// Rows of one row group: small enough to be gathered in memory, large enough to be read fast.
const ROW_GROUP_ROWS: usize = 128 << 10;
/// Bytes of one row group, for wide rows.
const ROW_GROUP_BYTES: usize = 16 << 20;

/// What the files of one table look like. Once stored, columns stay, and new ones are added at the end.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) table: String,
    pub(super) columns: Vec<Column>,
    /// Positions in `columns`.
    pub(super) key: Vec<usize>,
    pub(super) schema: SchemaRef,
}

/// A layout as the catalog keeps it.
#[derive(Serialize, Deserialize)]
struct Stored {
    columns: Vec<(String, String, bool)>,
    key: Vec<String>,
}

impl Layout {
    /// The layout of `table` where none is stored, or what the stored one becomes. Refuses with the reason when both can't be had.
    pub(super) fn new(table: &Table, stored: Option<&str>) -> Result<Self, StoreError> {
        let mut columns = Vec::new();
        let wanted_key: Vec<&str> =
            table.primary_key().iter().map(|&index| table.columns()[index].name.as_str()).collect();
        if let Some(stored) = stored {
            let refuse =
                |why: String| Err(StoreError::Refused(format!("its table `{}` does not fit: {why}", table.name())));
            let Ok(stored) = serde_json::from_str::<Stored>(stored) else {
                return refuse("its description in the catalog can't be read".to_owned());
            };
            if stored.key != wanted_key {
                return refuse(format!("its key is ({}), expected ({})", stored.key.join(", "), wanted_key.join(", ")));
            }
            for (name, kind, nullable) in stored.columns {
                let wanted = table.columns().iter().find(|column| column.name == name);
                let Some(data_type) = data_type(&kind) else {
                    return refuse(format!("column `{name}` is {kind}, which this program does not know"));
                };
                match wanted {
                    Some(wanted) if wanted.data_type != data_type => {
                        return refuse(format!("column `{name}` is {kind}, expected {}", wanted.data_type.name()));
                    }
                    None if !nullable => {
                        return refuse(format!("column `{name}` may not be null, and we don't fill it"));
                    }
                    _ => {}
                }
                let nullable = nullable || wanted.is_some_and(|wanted| wanted.nullable);
                columns.push(Column { name, data_type, nullable });
            }
            for column in table.columns() {
                if columns.iter().all(|stored| stored.name != column.name) {
                    if !column.nullable {
                        return refuse(format!("it lacks the column `{}`", column.name));
                    }
                    columns.push(column.clone());
                }
            }
        } else {
            columns = table.columns().to_vec();
        }
        let key = wanted_key.iter().filter_map(|name| columns.iter().position(|column| column.name == *name)).collect();
        let mut fields: Vec<Field> =
            columns.iter().map(|column| Field::new(&column.name, column.data_type.arrow(), column.nullable)).collect();
        fields.push(Field::new(SYNCED_AT, DataType::Timestamp.arrow(), true));
        Ok(Self { table: table.name().to_owned(), columns, key, schema: Arc::new(Schema::new(fields)) })
    }

    /// As the catalog keeps it.
    pub(super) fn stored(&self) -> Result<String, StoreError> {
        let columns = self.columns.iter();
        let stored = Stored {
            columns: columns
                .map(|column| (column.name.clone(), column.data_type.name().to_owned(), column.nullable))
                .collect(),
            key: self.key.iter().map(|&index| self.columns[index].name.clone()).collect(),
        };
        serde_json::to_string(&stored).map_err(|error| StoreError::Failed(error.to_string()))
    }

    /// The columns with `_synced_at`, by which stored rows are read.
    pub(super) fn stored_columns(&self) -> Vec<Column> {
        let synced_at = Column { name: SYNCED_AT.to_owned(), data_type: DataType::Timestamp, nullable: true };
        self.columns.iter().cloned().chain([synced_at]).collect()
    }

    /// For each of our columns its array in a batch of `table`; none where the batch lacks it.
    pub(super) fn positions(&self, table: &Table) -> Vec<Option<usize>> {
        let position = |column: &Column| table.columns().iter().position(|other| other.name == column.name);
        self.columns.iter().map(position).collect()
    }

    /// Rows as they are written: our columns in our order, and `_synced_at`. Text stays a dictionary where it is one, which the
    /// Parquet writer takes as it takes text; that is why this is a list of arrays and no checked batch.
    pub(super) fn rows(
        &self,
        batch: &RecordBatch,
        positions: &[Option<usize>],
        synced_at: i64,
    ) -> Result<RecordBatch, StoreError> {
        let rows = batch.num_rows();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len() + 1);
        for (column, position) in self.columns.iter().zip(positions) {
            arrays.push(match position {
                Some(position) => batch.column(*position).clone(),
                None => new_null_array(&column.data_type.arrow(), rows),
            });
        }
        arrays.push(Arc::new(TimestampMicrosecondArray::from(vec![synced_at; rows]).with_timezone("UTC")));
        typed(&self.schema, arrays)
    }

    /// Rows that were read from a file which may be older than the newest columns.
    pub(super) fn widen(&self, batch: RecordBatch) -> Result<RecordBatch, StoreError> {
        if batch.num_columns() == self.schema.fields().len() {
            return Ok(batch);
        }
        let arrays = self.schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
            Some(array) => array.clone(),
            None => new_null_array(field.data_type(), batch.num_rows()),
        });
        typed(&self.schema, arrays.collect())
    }

    /// zstd; numbers as they are or as differences, since a dictionary of them only costs time; text by dictionary.
    pub(super) fn properties(&self) -> WriterProperties {
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_created_by(concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned());
        for column in self.stored_columns() {
            let path = ColumnPath::from(column.name.as_str());
            properties = match column.data_type {
                DataType::Integer | DataType::Timestamp => properties
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
                DataType::Double | DataType::Json | DataType::Boolean => {
                    properties.set_column_dictionary_enabled(path, false)
                }
                DataType::Text => properties,
            };
        }
        properties.build()
    }
}

/// A batch whose fields have the names of `schema` and the types of `arrays`, which may hold text as dictionaries.
fn typed(schema: &Schema, arrays: Vec<ArrayRef>) -> Result<RecordBatch, StoreError> {
    let field = |(field, array): (&FieldRef, &ArrayRef)| {
        Field::new(field.name(), array.data_type().clone(), field.is_nullable())
    };
    let fields: Vec<Field> = schema.fields().iter().zip(&arrays).map(field).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

/// The same rows without dictionaries.
pub(super) fn plain_text(batch: &RecordBatch) -> Result<RecordBatch, StoreError> {
    let mut arrays = Vec::new();
    for array in batch.columns() {
        arrays.push(match array.as_dictionary_opt::<UInt32Type>() {
            Some(text) => take(text.values(), text.keys(), None)?,
            None => array.clone(),
        });
    }
    typed(&batch.schema(), arrays)
}

fn data_type(name: &str) -> Option<DataType> {
    use DataType::{Boolean, Double, Integer, Json, Text, Timestamp};
    [Boolean, Integer, Double, Text, Json, Timestamp].into_iter().find(|kind| kind.name() == name)
}
