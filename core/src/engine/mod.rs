//! The evaluation rules: an evaluation context in, an evaluation result out.
