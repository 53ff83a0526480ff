/* SPDX-License-Identifier: MPL-2.0
 *
 * Plays a line to its end or its first error, and takes it down.
 *
 *   play ELEMENT...
 *
 * In place of gst-launch-1.0 where a line is to fail: an error that is posted before gst-launch-1.0
 * runs its main loop ends a loop that does not run yet, and it waits for ever (seen with 1.22 and
 * read in later ones: bus_sync_handler in subprojects/gstreamer/tools/gst-launch.c).
 */
#include <gst/gst.h>

int
main (int argc, char **argv)
{
  GError *error = NULL;
  GstElement *pipeline;
  GstBus *bus;
  GstMessage *message;
  gboolean well;

  gst_init (&argc, &argv);
  pipeline = gst_parse_launchv ((const gchar **) argv + 1, &error);
  if (pipeline == NULL || error != NULL) {
    g_printerr ("no pipeline: %s\n", error != NULL ? error->message : "no reason given");
    g_clear_error (&error);
    gst_clear_object (&pipeline);
    gst_deinit ();
    return 2;
  }
  bus = gst_element_get_bus (pipeline);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  message = gst_bus_timed_pop_filtered (bus, GST_CLOCK_TIME_NONE,
      GST_MESSAGE_ERROR | GST_MESSAGE_EOS);
  well = GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS;
  if (!well) {
    gst_message_parse_error (message, &error, NULL);
    g_printerr ("%s: %s\n", GST_MESSAGE_SRC_NAME (message), error->message);
    g_clear_error (&error);
  }
  gst_message_unref (message);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (bus);
  gst_object_unref (pipeline);
  gst_deinit ();
  return well ? 0 : 1;
}
