//! What a principal may do with each part of a request, and what is answered where it may not.
