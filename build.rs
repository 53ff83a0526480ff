//! Puts version, commit and date into the plugin, as gst-plugins-rs does.
fn main() {
    gst_plugin_version_helper::info();
}
