//! Behaviour of stagewright, seen from outside.
