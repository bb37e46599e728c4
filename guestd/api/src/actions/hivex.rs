//! The registry of Windows: hives, their nodes and values.

use crate::table::actions;

actions! {
    group "hivex";

    /// Open a registry hive.
    ///
    /// One hive is open at a time; one that was is closed without writing it. `write:true` allows changes,
    /// which `hivex-commit` writes. `verbose`, `debug` and `unsafe` are accepted for old scripts: a damaged
    /// hive is always read as far as it makes sense.
    ///
    ///     hivex-open /Windows/System32/config/SOFTWARE write:true
    fn hivex_open(filename: Pathname)
        opt HivexOpenOptions { verbose: Bool, debug: Bool, write: Bool, r#unsafe: Bool } -> Void
        { feature: Some("hivex") };

    /// Close the hive.
    ///
    /// Changes that were not committed are lost.
    ///
    ///     hivex-close
    fn hivex_close() -> Void { feature: Some("hivex") };

    /// Show the root node of the hive.
    ///
    /// Nodes and values are numbers, good until the hive is closed.
    ///
    ///     hivex-root
    fn hivex_root() -> Int64 { feature: Some("hivex") };

    /// Show the name of a node.
    ///
    ///     hivex-node-name 4128
    fn hivex_node_name(nodeh: Int64) -> String { feature: Some("hivex") };

    /// List the nodes below a node.
    ///
    ///     hivex-node-children 4128
    fn hivex_node_children(nodeh: Int64) -> StructList<HivexNode> { feature: Some("hivex") };

    /// Find a node below a node by its name.
    ///
    /// Case does not matter. 0 means that there is none.
    ///
    ///     hivex-node-get-child 4128 Microsoft
    fn hivex_node_get_child(nodeh: Int64, name: String) -> Int64 { feature: Some("hivex") };

    /// Show the node above a node.
    ///
    ///     hivex-node-parent 4128
    fn hivex_node_parent(nodeh: Int64) -> Int64 { feature: Some("hivex") };

    /// List the values of a node.
    ///
    ///     hivex-node-values 4128
    fn hivex_node_values(nodeh: Int64) -> StructList<HivexValue> { feature: Some("hivex") };

    /// Find a value of a node by its key.
    ///
    /// Case does not matter, the empty key is the default value. 0 means that there is none.
    ///
    ///     hivex-node-get-value 4128 ProductName
    fn hivex_node_get_value(nodeh: Int64, key: String) -> Int64 { feature: Some("hivex") };

    /// Show the key of a value.
    ///
    /// Empty for the default value of a node.
    ///
    ///     hivex-value-key 4200
    fn hivex_value_key(valueh: Int64) -> String { feature: Some("hivex") };

    /// Show the type of a value.
    ///
    /// 1 is a string, 2 one with variables to be expanded, 3 bytes, 4 and 5 numbers of 32 bits, little and
    /// big endian, 7 several strings, 11 a number of 64 bits.
    ///
    ///     hivex-value-type 4200
    fn hivex_value_type(valueh: Int64) -> Int64 { feature: Some("hivex") };

    /// Show the data of a value as it is stored.
    ///
    ///     hivex-value-value 4200
    fn hivex_value_value(valueh: Int64) -> Buffer { feature: Some("hivex") };

    /// Show the data of a value as text.
    ///
    /// The data must be UTF-16, as strings are in the registry.
    ///
    ///     hivex-value-string 4200
    fn hivex_value_string(valueh: Int64) -> String { feature: Some("hivex") };

    /// Show the data of a value as text.
    ///
    /// The old name of `hivex-value-string`.
    ///
    ///     hivex-value-utf8 4200
    fn hivex_value_utf8(valueh: Int64) -> String
        { feature: Some("hivex"), deprecated_by: Some("hivex_value_string") };

    /// Write the changes.
    ///
    /// Into the hive's own file if `filename` is empty, else into that file.
    ///
    ///     hivex-commit ""
    fn hivex_commit(filename: OptString) -> Void { feature: Some("hivex") };

    /// Make a node below a node.
    ///
    /// It is empty and has the security settings of its parent. Returns the node.
    ///
    ///     hivex-node-add-child 4128 Diskwright
    fn hivex_node_add_child(parent: Int64, name: String) -> Int64 { feature: Some("hivex") };

    /// Remove a node with all that is below it.
    ///
    ///     hivex-node-delete-child 4200
    fn hivex_node_delete_child(nodeh: Int64) -> Void { feature: Some("hivex") };

    /// Set a value of a node.
    ///
    /// `t` is the type as for `hivex-value-type`. `val` is stored as it is, so strings must be UTF-16 with two
    /// zero bytes at their end.
    ///
    ///     hivex-node-set-value 4128 Blob 3 "some bytes"
    fn hivex_node_set_value(nodeh: Int64, key: String, t: Int64, val: BufferIn) -> Void { feature: Some("hivex") };
}
