/* SPDX-License-Identifier: MPL-2.0
 *
 * A region that a control source moves while the pipeline plays: a GstControlBinding of the
 * application's own turns a GstInterpolationControlSource's value into the property `regions`.
 *
 * usage: moving_region FRAMES SINK
 *
 * Sends so many grey frames of 64x48 at 10 a second through
 * dmabuffilter region-effect=fill region-mode=inside, with a region of 8x6 at row 20 whose column
 * is twice the frame's number.
 */
#include <gst/controller/gstinterpolationcontrolsource.h>
#include <gst/gst.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct
{
  GstControlBinding parent;
  GstControlSource *source;
} RegionBinding;

typedef GstControlBindingClass RegionBindingClass;

G_DEFINE_TYPE (RegionBinding, region_binding, GST_TYPE_CONTROL_BINDING)

static void
append_int (GValue * array, gint number)
{
  GValue value = G_VALUE_INIT;

  g_value_init (&value, G_TYPE_INT);
  g_value_set_int (&value, number);
  gst_value_array_append_and_take_value (array, &value);
}

static gboolean
region_binding_sync_values (GstControlBinding * binding, GstObject * object,
    GstClockTime timestamp, GstClockTime last_sync)
{
  RegionBinding *self = (RegionBinding *) binding;
  GValue regions = G_VALUE_INIT, region = G_VALUE_INIT;
  gdouble x;

  (void) last_sync;
  if (!gst_control_source_get_value (self->source, timestamp, &x))
    return FALSE;
  g_value_init (&regions, GST_TYPE_ARRAY);
  g_value_init (&region, GST_TYPE_ARRAY);
  append_int (&region, (gint) (x + 0.5));
  append_int (&region, 20);
  append_int (&region, 8);
  append_int (&region, 6);
  gst_value_array_append_and_take_value (&regions, &region);
  g_object_set_property (G_OBJECT (object), "regions", &regions);
  g_value_unset (&regions);
  return TRUE;
}

static void
region_binding_finalize (GObject * object)
{
  gst_object_unref (((RegionBinding *) object)->source);
  G_OBJECT_CLASS (region_binding_parent_class)->finalize (object);
}

static void
region_binding_class_init (RegionBindingClass * klass)
{
  klass->sync_values = region_binding_sync_values;
  G_OBJECT_CLASS (klass)->finalize = region_binding_finalize;
}

static void
region_binding_init (RegionBinding * self)
{
  GstTimedValueControlSource *values;

  self->source = gst_interpolation_control_source_new ();
  g_object_set (self->source, "mode", GST_INTERPOLATION_MODE_LINEAR, NULL);
  /* Twenty columns a second. */
  values = GST_TIMED_VALUE_CONTROL_SOURCE (self->source);
  gst_timed_value_control_source_set (values, 0, 0.0);
  gst_timed_value_control_source_set (values, 10 * GST_SECOND, 200.0);
}

int
main (int argc, char **argv)
{
  GError *error = NULL;
  GstElement *pipeline, *filter;
  GstControlBinding *binding;
  GstMessage *message;
  gchar *line;
  gboolean ended;

  gst_init (&argc, &argv);
  if (argc != 3) {
    fprintf (stderr, "usage: %s FRAMES SINK\n", argv[0]);
    return 2;
  }
  line = g_strdup_printf ("videotestsrc num-buffers=%d pattern=solid-color "
      "foreground-color=0xff808080 ! video/x-raw,format=GRAY8,width=64,height=48,framerate=10/1 "
      "! dmabuffilter name=filter region-effect=fill region-mode=inside fill-color=0xffffffff "
      "regions=\"<<0,0,1,1>>\" ! %s", atoi (argv[1]), argv[2]);
  pipeline = gst_parse_launch (line, &error);
  g_free (line);
  if (pipeline == NULL || error != NULL) {
    fprintf (stderr, "%s\n", error ? error->message : "no pipeline");
    return 1;
  }
  filter = gst_bin_get_by_name (GST_BIN (pipeline), "filter");
  binding = g_object_new (region_binding_get_type (), "object", filter, "name", "regions", NULL);
  if (!gst_object_add_control_binding (GST_OBJECT (filter), binding)) {
    fprintf (stderr, "the filter does not take a binding for regions\n");
    return 1;
  }
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  message = gst_bus_timed_pop_filtered (GST_ELEMENT_BUS (pipeline), 60 * GST_SECOND,
      GST_MESSAGE_ERROR | GST_MESSAGE_EOS);
  ended = message != NULL && GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS;
  if (message != NULL)
    gst_message_unref (message);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (filter);
  gst_object_unref (pipeline);
  return ended ? 0 : 1;
}
