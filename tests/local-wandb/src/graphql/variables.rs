//! Whether variables are used where their declared types are allowed.
//!
//! W&B refuses `query($n: Int!) { … history(minStep: $n) }`, since `minStep` is an `Int64`. The GraphQL implementation here
//! has that rule but does not run it (async-graphql 7.2), so it is checked apart, as the GraphQL specification says
//! ("All Variable Usages Are Allowed").

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use async_graphql::Name;
use async_graphql::Positioned;
use async_graphql::parser::types::{
    BaseType, ExecutableDocument, InputValueDefinition, OperationType, Selection, SelectionSet, Type, TypeKind,
    TypeSystemDefinition, VariableDefinition,
};
use async_graphql::parser::{parse_query, parse_schema};
use async_graphql_value::{ConstValue, Value};

use async_graphql::parser::types as ast;

/// How many valid queries are remembered.
const REMEMBERED: usize = 1000;

/// What fields take and answer, by type.
pub(crate) struct VariableTypes {
    fields: HashMap<Name, HashMap<Name, FieldTypes>>,
    inputs: HashMap<Name, HashMap<Name, Location>>,
    valid: Mutex<HashSet<String>>,
}

struct FieldTypes {
    answers: Name,
    arguments: HashMap<Name, Location>,
}

/// A place that takes a value.
struct Location {
    ty: Type,
    has_default: bool,
}

impl Location {
    fn of(definition: &InputValueDefinition) -> (Name, Self) {
        let ty = definition.ty.node.clone();
        (definition.name.node.clone(), Location { ty, has_default: definition.default_value.is_some() })
    }
}

impl VariableTypes {
    /// Reads the types from a schema's definition.
    pub(crate) fn of(sdl: &str) -> Self {
        let mut types = VariableTypes { fields: HashMap::new(), inputs: HashMap::new(), valid: Mutex::default() };
        let definitions = parse_schema(sdl).map(|document| document.definitions).unwrap_or_default();
        for definition in definitions {
            let TypeSystemDefinition::Type(definition) = definition else {
                continue;
            };
            let name = definition.node.name.node;
            match definition.node.kind {
                TypeKind::Object(object) => {
                    let fields = object.fields.into_iter().map(|field| {
                        let arguments = field.node.arguments.iter().map(|it| Location::of(&it.node)).collect();
                        (field.node.name.node, FieldTypes { answers: named(&field.node.ty.node), arguments })
                    });
                    types.fields.insert(name, fields.collect());
                }
                TypeKind::InputObject(input) => {
                    let members = input.fields.iter().map(|it| Location::of(&it.node)).collect();
                    types.inputs.insert(name, members);
                }
                _ => {}
            }
        }
        types
    }

    /// The first variable of a query that is used where its type is not allowed, as a message. Queries that do not parse
    /// are left to others.
    pub(crate) fn problem(&self, query: &str) -> Option<String> {
        let valid = || self.valid.lock().unwrap_or_else(PoisonError::into_inner);
        if valid().contains(query) {
            return None;
        }
        let document = parse_query(query).ok()?;
        for (_, operation) in document.operations.iter() {
            let root = match operation.node.ty {
                OperationType::Query => "Query",
                OperationType::Mutation => "Mutation",
                OperationType::Subscription => "Subscription",
            };
            let mut usages = Usages {
                types: self,
                document: &document,
                variables: &operation.node.variable_definitions,
                visited: HashSet::new(),
                problem: None,
            };
            usages.selections(&operation.node.selection_set.node, &Name::new(root));
            if usages.problem.is_some() {
                return usages.problem;
            }
        }
        let mut valid = valid();
        if valid.len() < REMEMBERED {
            valid.insert(query.to_owned());
        }
        None
    }
}

/// A walk through one operation.
struct Usages<'a> {
    types: &'a VariableTypes,
    document: &'a ExecutableDocument,
    variables: &'a [Positioned<VariableDefinition>],
    visited: HashSet<&'a Name>,
    problem: Option<String>,
}

impl<'a> Usages<'a> {
    fn selections(&mut self, set: &'a SelectionSet, parent: &Name) {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => self.field(&field.node, parent),
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if let (Some(fragment), true) = (self.document.fragments.get(name), self.visited.insert(name)) {
                        let on = &fragment.node.type_condition.node.on.node;
                        self.selections(&fragment.node.selection_set.node, on);
                    }
                }
                Selection::InlineFragment(fragment) => {
                    let on = fragment.node.type_condition.as_ref().map(|it| &it.node.on.node);
                    self.selections(&fragment.node.selection_set.node, on.unwrap_or(parent));
                }
            }
        }
    }

    fn field(&mut self, field: &'a ast::Field, parent: &Name) {
        let types = self.types;
        let Some(known) = types.fields.get(parent).and_then(|fields| fields.get(&field.name.node)) else {
            return;
        };
        for (name, value) in &field.arguments {
            if let Some(location) = known.arguments.get(&name.node) {
                self.value(&value.node, &location.ty, location.has_default);
            }
        }
        self.selections(&field.selection_set.node, &known.answers);
    }

    fn value(&mut self, value: &Value, location: &Type, has_default: bool) {
        match (value, &location.base) {
            (Value::Variable(name), _) => {
                let declared = self.variables.iter().find(|it| it.node.name.node == *name);
                let Some(declared) = declared.map(|it| &it.node) else {
                    return;
                };
                let default = declared.default_value.as_ref().is_some_and(|it| it.node != ConstValue::Null);
                let variable = &declared.var_type.node;
                if !allowed(variable, location, default || has_default) {
                    self.problem.get_or_insert(format!(
                        "Variable '${name}' of type '{variable}' used in position expecting type '{location}'."
                    ));
                }
            }
            (Value::List(items), BaseType::List(item)) => {
                items.iter().for_each(|value| self.value(value, item, false));
            }
            (Value::Object(members), BaseType::Named(input)) => {
                let types = self.types;
                let Some(known) = types.inputs.get(input) else {
                    return;
                };
                for (name, value) in members {
                    if let Some(location) = known.get(name) {
                        self.value(value, &location.ty, location.has_default);
                    }
                }
            }
            _ => {}
        }
    }
}

/// The named type at the heart of a type.
fn named(ty: &Type) -> Name {
    match &ty.base {
        BaseType::Named(name) => name.clone(),
        BaseType::List(item) => named(item),
    }
}

/// Whether a variable of that type may stand there; `default` says that null cannot reach it.
fn allowed(variable: &Type, location: &Type, default: bool) -> bool {
    if !location.nullable && variable.nullable && !default {
        return false;
    }
    match (&variable.base, &location.base) {
        (BaseType::Named(variable), BaseType::Named(location)) => variable == location,
        (BaseType::List(variable), BaseType::List(location)) => allowed(variable, location, false),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDL: &str = "
        type Query { run(name: String!): Run  find(names: [String!], input: Filter): Run }
        type Run { history(min: Int64, samples: Int = 500): [String!]! }
        input Filter { name: String! limit: Int }
        scalar Int64";

    #[test]
    fn types_must_fit_where_variables_are_used() {
        let types = VariableTypes::of(SDL);
        for (query, fits) in [
            ("query Q($n: String!, $m: Int64) { run(name: $n) { history(min: $m) } }", true),
            (
                "query Q($n: String!, $m: Int64!) { run(name: $n) { ...F } } fragment F on Run { history(min: $m) }",
                true,
            ),
            ("query Q($n: String!, $m: Int!) { run(name: $n) { ...F } } fragment F on Run { history(min: $m) }", false),
            ("query Q($n: String) { run(name: $n) { history } }", false),
            ("query Q($n: String = \"x\") { run(name: $n) { history } }", true),
            ("query Q($n: [String!]!) { find(names: $n) { history } }", true),
            ("query Q($n: [String]) { find(names: $n) { history } }", false),
            ("query Q($n: String) { find(names: [$n]) { history } }", false),
            ("query Q($n: String) { find(input: {name: $n}) { history } }", false),
            ("query Q($n: String!, $l: Int) { find(input: {name: $n, limit: $l}) { history } }", true),
        ] {
            assert_eq!(types.problem(query).is_none(), fits, "{query}");
        }
    }
}
