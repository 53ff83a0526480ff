/* SPDX-License-Identifier: MPL-2.0 */
/* An application with the plugin linked statically: static LOCATION [setting=value ...] writes
 * frames filtered by dmabuffilter. The plugin must not be installed on this machine. */
#include <gst/gst.h>

/* gst_plugin_dmabufcpu_register (), from libgstdmabufcpu.a. */
GST_PLUGIN_STATIC_DECLARE (dmabufcpu);

static gboolean
is_there (void)
{
  GstPlugin *plugin = gst_registry_find_plugin (gst_registry_get (), "dmabufcpu");

  if (plugin)
    gst_object_unref (plugin);
  return plugin != NULL;
}

int
main (int argc, char **argv)
{
  GError *error = NULL;
  gchar *settings, *line;
  GstElement *pipeline;
  GstBus *bus;
  GstMessage *message;
  GstMessageType how;

  gst_init (&argc, &argv);
  if (argc < 2) {
    g_printerr ("usage: static LOCATION [setting=value ...]\n");
    return 2;
  }
  if (is_there ()) {
    g_printerr ("the plugin is already installed on this machine\n");
    return 1;
  }
  GST_PLUGIN_STATIC_REGISTER (dmabufcpu);
  if (!is_there ()) {
    g_printerr ("the plugin was not registered\n");
    return 1;
  }
  settings = g_strjoinv (" ", argv + 2);
  line = g_strdup_printf ("videotestsrc num-buffers=5 ! "
      "video/x-raw,format=BGRx,width=320,height=240 ! dmabufupload allocator=memfd ! "
      "dmabuffilter %s ! filesink location=%s", settings, argv[1]);
  pipeline = gst_parse_launch (line, &error);
  if (error) {
    g_printerr ("%s\n", error->message);
    return 1;
  }
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  bus = gst_element_get_bus (pipeline);
  message = gst_bus_timed_pop_filtered (bus, 60 * GST_SECOND,
      GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  how = message ? GST_MESSAGE_TYPE (message) : GST_MESSAGE_UNKNOWN;
  g_print ("ended with %s\n", gst_message_type_get_name (how));
  gst_element_set_state (pipeline, GST_STATE_NULL);

  g_clear_pointer (&message, gst_message_unref);
  gst_object_unref (bus);
  gst_object_unref (pipeline);
  g_free (line);
  g_free (settings);
  return how == GST_MESSAGE_EOS ? 0 : 1;
}
