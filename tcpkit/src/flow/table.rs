//! A bounded table of conversations.
