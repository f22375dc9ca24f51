//! What a table looks like in SQLite, and whether one that exists fits.
//!
//! Every check happens before anything is written. A table that exists may have more columns than ours as long as rows can
//! be inserted without them, and lack nullable ones, which are then added.

use std::fmt::Write;

use rusqlite::Connection;

use elt_host::{DataType, LostTable, Table};

/// The host's own column in every table: when the row was last written with new values.
pub(crate) const SYNCED_AT: &str = "_synced_at";
/// The table that holds the state.
pub(crate) const STATE_TABLE: &str = "_elt_state";
/// The table that names the tables which syncs have made, so that one that is gone is missed.
pub(crate) const TABLES_TABLE: &str = "_elt_tables";
/// `application_id` of the databases that we create: `eltc` in ASCII.
pub(crate) const APPLICATION_ID: i32 = i32::from_be_bytes(*b"eltc");
/// `user_version` of the databases that we create: the layout described in [`super`].
pub(crate) const LAYOUT: i32 = 1;

/// Why a database can't be used, or could not be read.
pub enum Misfit {
    /// It is not what was expected; what to do about it.
    Refused(String),
    /// SQLite refused.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Misfit {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// The declared type, whose affinity is that of the values we store, so that SQLite converts none.
fn declared_type(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Boolean | DataType::Integer => "INTEGER",
        DataType::Double => "REAL",
        DataType::Text | DataType::Json | DataType::Timestamp => "TEXT",
    }
}

/// Affinity of a declared type, by the rules of <https://www.sqlite.org/datatype3.html>, 3.1.
fn affinity(declared: &str) -> &'static str {
    let declared = declared.to_ascii_uppercase();
    let has = |part: &str| declared.contains(part);
    if has("INT") {
        "INTEGER"
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        "TEXT"
    } else if has("BLOB") || declared.is_empty() || declared == "ANY" {
        "BLOB"
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        "REAL"
    } else {
        "NUMERIC"
    }
}

/// A name between quotes. Names are `[a-z_][a-z0-9_]*` already; the quotes are for those that are key words.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The statements that make the database fit `tables`; none when it does already. Refuses without changing anything
/// when it can't be made to fit.
pub fn plan(connection: &Connection, tables: &[Table]) -> Result<Vec<String>, Misfit> {
    let mut statements = Vec::new();
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if application == APPLICATION_ID {
        if version != LAYOUT {
            return Err(Misfit::Refused(format!(
                "it has layout {version} and this program knows layout {LAYOUT}. Use the version of this program that \
                 wrote it, or choose another file."
            )));
        }
    } else if application != 0 {
        return Err(Misfit::Refused(format!(
            "it belongs to another application (its application_id is {application}). Choose another file."
        )));
    } else if objects == 0 && version == 0 {
        statements.push(format!("PRAGMA application_id = {APPLICATION_ID}"));
        statements.push(format!("PRAGMA user_version = {LAYOUT}"));
    }
    let state = Expected {
        name: STATE_TABLE,
        columns: vec![
            ExpectedColumn { name: "key", declared: "TEXT", nullable: false },
            ExpectedColumn { name: "value", declared: "TEXT", nullable: false },
        ],
        key: vec!["key"],
    };
    statements.extend(state.plan(connection)?);
    let made = Expected {
        name: TABLES_TABLE,
        columns: vec![ExpectedColumn { name: "name", declared: "TEXT", nullable: false }],
        key: vec!["name"],
    };
    if !tables.is_empty() {
        statements.extend(made.plan(connection)?);
    }
    for table in tables {
        statements.extend(Expected::from(table).plan(connection)?);
    }
    Ok(statements)
}

/// Whether the database is one that we created.
pub fn is_ours(connection: &Connection) -> rusqlite::Result<bool> {
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    Ok(application == APPLICATION_ID)
}

/// Whether the database has a state table.
pub fn has_state(connection: &Connection) -> rusqlite::Result<bool> {
    connection.table_exists(None, STATE_TABLE)
}

/// Notes that all of `tables` are there now; and forgets those that are not any more and that nobody asks for.
pub fn note_tables(connection: &Connection, tables: &[Table]) -> rusqlite::Result<()> {
    let gone = "lower(name) NOT IN (SELECT lower(name) FROM sqlite_schema WHERE type = 'table')";
    connection.execute(&format!("DELETE FROM {TABLES_TABLE} WHERE {gone}"), [])?;
    for table in tables {
        connection.execute(&format!("INSERT OR IGNORE INTO {TABLES_TABLE}(name) VALUES (?1)"), [table.name()])?;
    }
    Ok(())
}

/// Those of `tables` that are not there, though they were once, as far as that is known.
pub fn lost_tables(connection: &Connection, tables: &[Table]) -> rusqlite::Result<Vec<LostTable>> {
    let noted = connection.table_exists(None, TABLES_TABLE)?;
    let mut lost = Vec::new();
    for table in tables {
        let name = table.name();
        if connection.table_exists(None, name)? {
            continue;
        }
        let note = format!("SELECT count(*) FROM {TABLES_TABLE} WHERE name = ?1");
        let is_certain = noted && connection.query_row(&note, [name], |row| row.get::<_, i64>(0))? > 0;
        // A database that notes its tables and does not name this one never had it.
        if is_certain || !noted {
            lost.push(LostTable { name: name.to_owned(), is_certain });
        }
    }
    Ok(lost)
}

/// Those of `tables` that are there and lack columns: somebody dropped them, or they are new. In either case the rows that are there
/// lack what the source has.
pub(crate) fn tables_without_columns(connection: &Connection, tables: &[Table]) -> rusqlite::Result<Vec<LostTable>> {
    let mut lost = Vec::new();
    for table in tables {
        let actual = actual_columns(connection, table.name())?;
        let is_there = |name: &str| actual.iter().any(|column| column.name.eq_ignore_ascii_case(name));
        if !actual.is_empty() && !table.columns().iter().all(|column| is_there(&column.name)) {
            lost.push(LostTable { name: table.name().to_owned(), is_certain: true });
        }
    }
    Ok(lost)
}

struct Expected<'a> {
    name: &'a str,
    columns: Vec<ExpectedColumn<'a>>,
    key: Vec<&'a str>,
}

struct ExpectedColumn<'a> {
    name: &'a str,
    declared: &'static str,
    nullable: bool,
}

struct ActualColumn {
    name: String,
    declared: String,
    not_null: bool,
    has_default: bool,
    /// Place in the primary key, from 1; 0 outside of it.
    key: i64,
    /// 0 for ordinary columns, 2 and 3 for generated ones.
    hidden: i64,
}

impl<'a> From<&'a Table> for Expected<'a> {
    fn from(table: &'a Table) -> Self {
        let mut columns: Vec<_> = table
            .columns()
            .iter()
            .map(|column| ExpectedColumn {
                name: &column.name,
                declared: declared_type(column.data_type),
                nullable: column.nullable,
            })
            .collect();
        columns.push(ExpectedColumn { name: SYNCED_AT, declared: "TEXT", nullable: true });
        let key = table.primary_key().iter().map(|&index| table.columns()[index].name.as_str()).collect();
        Self { name: table.name(), columns, key }
    }
}

impl Expected<'_> {
    fn plan(&self, connection: &Connection) -> Result<Vec<String>, Misfit> {
        let kind = connection.query_row(
            "SELECT max(type) FROM sqlite_schema WHERE lower(name) = lower(?1)",
            [self.name],
            |row| row.get::<_, Option<String>>(0),
        )?;
        match kind.as_deref() {
            None => Ok(vec![self.create()]),
            Some("table") => self.fit(&actual_columns(connection, self.name)?).map_err(|why| {
                Misfit::Refused(format!(
                    "its table `{}` does not fit: {why}. Rename or drop that table, or choose another file.",
                    self.name
                ))
            }),
            Some(kind) => Err(Misfit::Refused(format!(
                "`{}` in it is a {kind}, and a table is needed. Rename it, or choose another file.",
                self.name
            ))),
        }
    }

    fn create(&self) -> String {
        let mut sql = format!("CREATE TABLE {} (", quote(self.name));
        for column in &self.columns {
            let _ = write!(sql, "{}, ", column.definition());
        }
        let key: Vec<_> = self.key.iter().map(|name| quote(name)).collect();
        let _ = write!(sql, "PRIMARY KEY ({})) WITHOUT ROWID", key.join(", "));
        sql
    }

    /// The statements that add what is missing, or the first thing that does not fit.
    fn fit(&self, actual: &[ActualColumn]) -> Result<Vec<String>, String> {
        let mut statements = Vec::new();
        for expected in &self.columns {
            let Some(column) = actual.iter().find(|column| column.name.eq_ignore_ascii_case(expected.name)) else {
                if !expected.nullable {
                    return Err(format!("it lacks the column `{}` ({})", expected.name, expected.declared));
                }
                let table = quote(self.name);
                statements.push(format!("ALTER TABLE {table} ADD COLUMN {}", expected.definition()));
                continue;
            };
            if affinity(&column.declared) != expected.declared {
                let declared = if column.declared.is_empty() { "without a type" } else { &column.declared };
                return Err(format!("column `{}` is {declared}, expected {}", column.name, expected.declared));
            }
            if column.hidden != 0 {
                return Err(format!("column `{}` is generated, expected an ordinary one", column.name));
            }
            if expected.nullable && column.not_null {
                return Err(format!("column `{}` is NOT NULL, expected one that may be null", column.name));
            }
        }
        for column in actual {
            let known = self.columns.iter().any(|expected| column.name.eq_ignore_ascii_case(expected.name));
            if !known && column.not_null && !column.has_default && column.hidden == 0 {
                return Err(format!("column `{}` is NOT NULL without a default, and we don't fill it", column.name));
            }
        }
        let mut key: Vec<_> = actual.iter().filter(|column| column.key > 0).collect();
        key.sort_by_key(|column| column.key);
        if key.len() != self.key.len() || key.iter().zip(&self.key).any(|(a, b)| !a.name.eq_ignore_ascii_case(b)) {
            let key: Vec<_> = key.iter().map(|column| column.name.as_str()).collect();
            let actual = if key.is_empty() { "none".to_owned() } else { format!("({})", key.join(", ")) };
            return Err(format!("its primary key is {actual}, expected ({})", self.key.join(", ")));
        }
        Ok(statements)
    }
}

impl ExpectedColumn<'_> {
    fn definition(&self) -> String {
        let null = if self.nullable { "" } else { " NOT NULL" };
        format!("{} {}{null}", quote(self.name), self.declared)
    }
}

fn actual_columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<ActualColumn>> {
    let mut statement = connection
        .prepare("SELECT name, type, \"notnull\", dflt_value IS NOT NULL, pk, hidden FROM pragma_table_xinfo(?1)")?;
    let columns = statement.query_map([table], |row| {
        Ok(ActualColumn {
            name: row.get(0)?,
            declared: row.get(1)?,
            not_null: row.get(2)?,
            has_default: row.get(3)?,
            key: row.get(4)?,
            hidden: row.get(5)?,
        })
    })?;
    columns.collect()
}
