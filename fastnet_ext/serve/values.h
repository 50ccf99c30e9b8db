/* What kind of value a handler returned, without the exception that a failed attribute look-up makes. */
#ifndef FASTNET_SERVE_VALUES_H
#define FASTNET_SERVE_VALUES_H

#include <Python.h>

/* An iterator or an asynchronous iterable: something to be streamed. */
static inline int fn_is_stream(PyObject *value) {
    PyAsyncMethods *async = Py_TYPE(value)->tp_as_async;
    return (async != NULL && async->am_aiter != NULL) || PyIter_Check(value);
}

#endif
