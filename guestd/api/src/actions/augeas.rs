//! Configuration files as trees, by Augeas.

use crate::table::actions;

actions! {
    group "augeas";

    /// Read the configuration files of the guest into a tree.
    ///
    /// Must come before all other `aug-` actions. `root` is where the files are, nearly always `/`. `flags` is a
    /// sum of: 1 keep originals as `.augsave`, 2 write to `.augnew` instead, 4 check the types of lenses, 8 do
    /// not look for lenses in the usual places, 16 do not really save, 32 do not read the files yet. A tree
    /// that is open is closed first.
    ///
    ///     aug-init / 0
    fn aug_init(root: Pathname, flags: Int) -> Void;

    /// Close the tree.
    ///
    /// Changes that were not saved are lost.
    ///
    ///     aug-close
    fn aug_close() -> Void;

    /// Give an expression a name.
    ///
    /// Later expressions use it as `$name`. An empty `expr` forgets the name. Returns how many nodes the
    /// expression stands for, 0 if it is a string or a number.
    ///
    ///     aug-defvar hosts /files/etc/hosts/*
    fn aug_defvar(name: String, expr: OptString) -> Int;

    /// Give a node a name and make it if it is not there.
    ///
    /// A node that is made gets the value `val`. Returns how many nodes the name stands for and whether one
    /// was made.
    ///
    ///     aug-defnode entry /files/etc/hosts/01 ""
    fn aug_defnode(name: String, expr: String, val: String) -> Struct<IntBool>;

    /// Show the value of a node.
    ///
    /// The expression must match exactly one node, and that must have a value.
    ///
    ///     aug-get /files/etc/hosts/1/canonical
    fn aug_get(augpath: String) -> String;

    /// Set the value of a node.
    ///
    /// The node and those above it are made if they are not there. An empty value is not the same as none,
    /// see `aug-clear`.
    ///
    ///     aug-set /files/etc/hosts/1/canonical localhost
    fn aug_set(augpath: String, val: String) -> Void;

    /// Take the value of a node away.
    ///
    ///     aug-clear /files/etc/sudoers/spec/user
    fn aug_clear(augpath: String) -> Void;

    /// Set the values of many nodes.
    ///
    /// For each node that `base` matches, what `sub` matches from there is set, or made. An empty `sub` sets
    /// the nodes themselves. Returns how many nodes were set.
    ///
    ///     aug-setm /files/etc/fstab/* dump 0
    fn aug_setm(base: String, sub: OptString, val: String) -> Int;

    /// Make a node before or after another of the same parent.
    ///
    /// `before` says on which side of the node that `augpath` matches.
    ///
    ///     aug-insert /files/etc/hosts/1 01 true
    fn aug_insert(augpath: String, label: String, before: Bool) -> Void;

    /// Remove nodes with all that is below them.
    ///
    /// Returns how many nodes went, those below included.
    ///
    ///     aug-rm /files/etc/hosts/2
    fn aug_rm(augpath: String) -> Int;

    /// Move a node.
    ///
    /// `src` must match one node. A node at `dest` is replaced, with all below it.
    ///
    ///     aug-mv /files/etc/hosts/1 /files/etc/hosts/9
    fn aug_mv(src: String, dest: String) -> Void;

    /// List the paths that match an expression.
    ///
    ///     aug-match /files/etc/hosts/*
    fn aug_match(augpath: String) -> StringList;

    /// Write the changed files.
    ///
    /// If the tree cannot be written, no file is changed and `aug-match /augeas//error` lists what is wrong.
    ///
    ///     aug-save
    fn aug_save() -> Void;

    /// Read the files again.
    ///
    /// Changes that were not saved are lost. `aug-match /augeas//error` lists files that could not be read.
    ///
    ///     aug-load
    fn aug_load() -> Void;

    /// List the nodes below a node, sorted.
    ///
    /// Like `aug-match augpath/*`.
    ///
    ///     aug-ls /files/etc/hosts
    fn aug_ls(augpath: String) -> StringList;

    /// Show the last part of the path of a node.
    ///
    /// The expression must match exactly one node.
    ///
    ///     aug-label "/files/etc/hosts/*[canonical='localhost']"
    fn aug_label(augpath: String) -> String;

    /// Have a lens read and write one more file.
    ///
    /// `file` may have wildcards. `remove:true` excludes the file instead. Takes effect with `aug-load`.
    ///
    ///     aug-transform Hosts.lns /etc/hosts.local
    fn aug_transform(lens: String, file: String) opt AugTransformOptions { remove: Bool } -> Void;
}
