//! Sets of bindings as DescribeAcls and DeleteAcls name them.

use super::{Binding, Operation, PatternType, Permission, ResourceType, WILDCARD};

/// Selects bindings. `None` everywhere means "any".
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Kind of the resources.
    pub resource_type: Option<ResourceType>,
    /// How `resource_name` selects patterns.
    pub pattern: PatternFilter,
    /// Name to compare.
    pub resource_name: Option<String>,
    /// Principal as it stands in the binding; `User:*` selects only bindings for everybody.
    pub principal: Option<String>,
    /// Host as it stands in the binding; `*` selects only bindings for every host.
    pub host: Option<String>,
    /// Operation as it stands in the binding: [`Operation::All`] selects only bindings for `ALL`.
    pub operation: Option<Operation>,
    /// Grants or denials.
    pub permission: Option<Permission>,
}

/// How a filter selects patterns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PatternFilter {
    /// Patterns of any type with exactly the name.
    #[default]
    Any,
    /// Every pattern that would match a resource of the name: the literal, the wildcard, every prefix.
    Match,
    /// Patterns of this type with exactly the name.
    Is(PatternType),
}

impl PatternFilter {
    /// By code; `None` for a code that no filter may have.
    pub fn from_code(code: i8) -> Option<PatternFilter> {
        match code {
            1 => Some(PatternFilter::Any),
            2 => Some(PatternFilter::Match),
            code => PatternType::from_code(code).map(PatternFilter::Is),
        }
    }
}

impl Filter {
    /// Whether the filter selects the binding.
    pub fn matches(&self, binding: &Binding) -> bool {
        let same_text =
            |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|text| text == is);
        self.resource_type
            .is_none_or(|wanted| wanted == binding.resource_type)
            && self.matches_pattern(binding)
            && same_text(&self.principal, &binding.principal)
            && same_text(&self.host, &binding.host)
            && self
                .operation
                .is_none_or(|wanted| wanted == binding.operation)
            && self
                .permission
                .is_none_or(|wanted| wanted == binding.permission)
    }

    fn matches_pattern(&self, binding: &Binding) -> bool {
        if matches!(self.pattern, PatternFilter::Is(wanted) if wanted != binding.pattern_type) {
            return false;
        }
        let Some(name) = self.resource_name.as_deref() else {
            return true;
        };
        let pattern = &*binding.resource_name;
        match (self.pattern, binding.pattern_type) {
            (PatternFilter::Match, PatternType::Literal) => pattern == name || pattern == WILDCARD,
            (PatternFilter::Match, PatternType::Prefixed) => name.starts_with(pattern),
            (PatternFilter::Any | PatternFilter::Is(_), _) => pattern == name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Binding, Operation, PatternType, Permission, ResourceType};
    use super::{Filter, PatternFilter};

    fn binding(pattern_type: PatternType, name: &str) -> Binding {
        Binding {
            resource_type: ResourceType::Topic,
            pattern_type,
            resource_name: name.into(),
            principal: "User:alice".into(),
            host: "*".into(),
            operation: Operation::Read,
            permission: Permission::Allow,
        }
    }

    #[test]
    fn patterns() {
        use PatternType::{Literal, Prefixed};
        let all = [
            binding(Literal, "orders"),
            binding(Literal, "*"),
            binding(Prefixed, "orders"),
            binding(Prefixed, "ord"),
            binding(Prefixed, "orders-"),
            binding(Literal, "other"),
        ];
        let selected = |pattern| {
            let filter = Filter {
                pattern,
                resource_name: Some("orders".to_owned()),
                ..Filter::default()
            };
            all.each_ref().map(|binding| filter.matches(binding))
        };
        assert_eq!(
            selected(PatternFilter::Any),
            [true, false, true, false, false, false]
        );
        assert_eq!(
            selected(PatternFilter::Match),
            [true, true, true, true, false, false]
        );
        assert_eq!(
            selected(PatternFilter::Is(Literal)),
            [true, false, false, false, false, false]
        );
        assert_eq!(
            selected(PatternFilter::Is(Prefixed)),
            [false, false, true, false, false, false]
        );
        let nameless = Filter {
            pattern: PatternFilter::Is(Prefixed),
            ..Filter::default()
        };
        assert_eq!(
            all.iter()
                .filter(|binding| nameless.matches(binding))
                .count(),
            3
        );
    }

    #[test]
    fn everything_else_is_compared_as_it_stands() {
        let alice = binding(PatternType::Literal, "t");
        let matches = |filter: Filter| filter.matches(&alice);
        assert!(matches(Filter::default()));
        assert!(!matches(Filter {
            principal: Some("User:*".to_owned()),
            ..Filter::default()
        }));
        assert!(!matches(Filter {
            host: Some("192.0.2.1".to_owned()),
            ..Filter::default()
        }));
        assert!(!matches(Filter {
            operation: Some(Operation::Describe),
            ..Filter::default()
        }));
        assert!(!matches(Filter {
            permission: Some(Permission::Deny),
            ..Filter::default()
        }));
        assert!(!matches(Filter {
            resource_type: Some(ResourceType::Group),
            ..Filter::default()
        }));
        assert!(matches(Filter {
            operation: Some(Operation::Read),
            ..Filter::default()
        }));
    }

    #[test]
    fn codes_of_pattern_filters() {
        assert_eq!(PatternFilter::from_code(0), None);
        assert_eq!(PatternFilter::from_code(1), Some(PatternFilter::Any));
        assert_eq!(PatternFilter::from_code(2), Some(PatternFilter::Match));
        assert_eq!(
            PatternFilter::from_code(4),
            Some(PatternFilter::Is(PatternType::Prefixed))
        );
        assert_eq!(PatternFilter::from_code(5), None);
    }
}
