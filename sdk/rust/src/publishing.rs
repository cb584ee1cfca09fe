//! The publishing functions. They are the same for direct calls and the outbox; only the destination of the message
//! differs.

/// Defines them as methods that pass their message to another method: its name, `async` if that is, how it is awaited,
/// what it returns, and when it fails.
macro_rules! publishing_functions {
    ([$($async:tt)?] $sink:ident [$($await:tt)*] -> $answer:ty, $failing:literal) => {
        /// A row was inserted.
        ///
        /// # Errors
        #[doc = $failing]
        pub $($async)? fn insert(
            &self,
            table: &str,
            row: &impl Serialize,
            organization_id: &str,
            options: &Options,
        ) -> Result<$answer, RealtimeError> {
            self.$sink(organization_id, Message::insert(table, row, options)?) $($await)*
        }

        /// A row was updated; `old` is what it was, where that is known.
        ///
        /// # Errors
        #[doc = $failing]
        pub $($async)? fn update<Row: Serialize>(
            &self,
            table: &str,
            new: &Row,
            old: Option<&Row>,
            organization_id: &str,
            options: &Options,
        ) -> Result<$answer, RealtimeError> {
            self.$sink(organization_id, Message::update(table, new, old, options)?) $($await)*
        }

        /// A row was deleted.
        ///
        /// # Errors
        #[doc = $failing]
        pub $($async)? fn delete(
            &self,
            table: &str,
            old: &impl Serialize,
            organization_id: &str,
            options: &Options,
        ) -> Result<$answer, RealtimeError> {
            self.$sink(organization_id, Message::delete(table, old, options)?) $($await)*
        }

        /// Anything that is no change of a row.
        ///
        /// # Errors
        #[doc = $failing]
        pub $($async)? fn broadcast(
            &self,
            event: &str,
            payload: &impl Serialize,
            organization_id: &str,
            options: &Options,
        ) -> Result<$answer, RealtimeError> {
            self.$sink(organization_id, Message::broadcast(event, payload, options)?) $($await)*
        }
    };
}

pub(crate) use publishing_functions;
