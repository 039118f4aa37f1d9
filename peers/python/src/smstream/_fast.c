/* The calls of a stream that are made for every message, for CPython: those that can finish at once, without giving up the interpreter lock.
 *
 * Core is what Stream inherits. Each method here does the whole call if it is a plain one, nothing else uses the half, and nothing is in the way;
 * otherwise it calls the method of Stream whose name begins with an underscore, which waits, raises, and takes all kinds of arguments. Where there
 * is no compiled Core (PyPy), _core.py has one that always does that.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "smstream.h"

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

/* More bytes than this are copied without the interpreter lock, by the other path: other threads run meanwhile. */
#define LONGEST (1 << 15)

/* Who uses a half. A thread that uses it without the interpreter lock sets taken before. */
typedef struct turn {
    PyObject_HEAD
    char taken;
} turn;

typedef struct core {
    PyObject_HEAD
    sms_stream *s; /* NULL: closed */
    turn *reading, *writing;
} core;

static PyTypeObject *turn_type;

/* The reading half, if this thread may use it until it gives up the interpreter lock. */
static sms_stream *reader(const core *c) { return c->s != NULL && !c->reading->taken ? c->s : NULL; }
static sms_stream *writer(const core *c) { return c->s != NULL && !c->writing->taken ? c->s : NULL; }

/* The same call, by the method that takes its time. */
static PyObject *slowly(PyObject *self, const char *name, PyObject *const *args, Py_ssize_t n, PyObject *names) {
    PyObject *method = PyObject_GetAttrString(self, name), *plain = PyTuple_New(n), *named = NULL, *result = NULL;
    Py_ssize_t i, more = names == NULL ? 0 : PyTuple_Size(names);
    if (method == NULL || plain == NULL || (more != 0 && (named = PyDict_New()) == NULL))
        goto end;
    for (i = 0; i < n; i++) {
        Py_INCREF(args[i]);
        if (PyTuple_SetItem(plain, i, args[i]) < 0)
            goto end;
    }
    for (i = 0; i < more; i++)
        if (PyDict_SetItem(named, PyTuple_GetItem(names, i), args[n + i]) < 0)
            goto end;
    result = PyObject_Call(method, plain, named);
end:
    Py_XDECREF(method);
    Py_XDECREF(plain);
    Py_XDECREF(named);
    return result;
}

/* The only argument, if there is one and it has no name. */
static PyObject *only(PyObject *const *args, Py_ssize_t n, PyObject *names) { return n == 1 && names == NULL ? args[0] : NULL; }

/* A size from 1 to LONGEST, or 0. */
static size_t size_of(PyObject *number) {
    Py_ssize_t n;
    if (number == NULL || !PyLong_Check(number))
        return 0;
    n = PyLong_AsSsize_t(number);
    if (n == -1 && PyErr_Occurred())
        PyErr_Clear();
    return n > 0 && n <= LONGEST ? (size_t)n : 0;
}

/* Makes bytes of n that are read; NULL without an exception if that did not go well. */
static PyObject *read_bytes(sms_stream *s, size_t n) {
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)n);
    if (bytes != NULL && sms_try_read(s, PyBytes_AsString(bytes), n) != (long)n)
        Py_CLEAR(bytes);
    return bytes;
}

static PyObject *core_recv(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names) {
    sms_stream *s = reader((core *)self);
    size_t most = size_of(only(args, n, names));
    if (s != NULL && most != 0) {
        long there = sms_available(s, most);
        if (there > 0) {
            PyObject *bytes = read_bytes(s, (size_t)there < most ? (size_t)there : most);
            if (bytes != NULL || PyErr_Occurred())
                return bytes;
        }
    }
    return slowly(self, "_recv", args, n, names);
}

static PyObject *core_recv_exactly(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names) {
    sms_stream *s = reader((core *)self);
    size_t all = size_of(only(args, n, names));
    if (s != NULL && all != 0) {
        long there = sms_available(s, all);
        if (there > 0 && (size_t)there >= all) {
            PyObject *bytes = read_bytes(s, all);
            if (bytes != NULL || PyErr_Occurred())
                return bytes;
        }
    }
    return slowly(self, "_recv_exactly", args, n, names);
}

static PyObject *core_recv_into(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names) {
    PyObject *into = only(args, n, names);
    if (into != NULL && reader((core *)self) != NULL) {
        Py_buffer b;
        long got = -1;
        if (PyObject_GetBuffer(into, &b, PyBUF_WRITABLE) == 0) {
            /* What has a buffer may be any code: the look comes after it. */
            sms_stream *s = reader((core *)self);
            if (s != NULL && b.len > 0) {
                long there = sms_available(s, (size_t)b.len);
                if (there > 0 && (there <= LONGEST || b.len <= LONGEST))
                    got = sms_try_read(s, b.buf, (size_t)b.len < (size_t)there ? (size_t)b.len : (size_t)there);
            }
            PyBuffer_Release(&b);
        } else {
            PyErr_Clear();
        }
        if (got > 0)
            return PyLong_FromLong(got);
    }
    return slowly(self, "_recv_into", args, n, names);
}

/* Calls act with bytes of at most LONGEST; -1 if they are none. */
static long with_bytes(core *c, PyObject *from, long (*act)(sms_stream *, const void *, size_t)) {
    Py_buffer b;
    long done = -1;
    if (from == NULL || writer(c) == NULL)
        return -1;
    if (PyBytes_CheckExact(from)) {
        Py_ssize_t len = PyBytes_Size(from);
        return len <= LONGEST ? act(c->s, PyBytes_AsString(from), (size_t)len) : -1;
    }
    if (PyObject_GetBuffer(from, &b, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        return -1;
    }
    if (b.len <= LONGEST && writer(c) != NULL)
        done = act(c->s, b.buf, (size_t)b.len);
    PyBuffer_Release(&b);
    return done;
}

static long write_some(sms_stream *s, const void *bytes, size_t n) { return sms_try_write(s, bytes, n); }
/* All or nothing, so that the other path begins at the first byte. */
static long write_all(sms_stream *s, const void *bytes, size_t n) {
    return sms_room(s, n) >= (long)n ? sms_try_write(s, bytes, n) : -1;
}
static long write_record(sms_stream *s, const void *bytes, size_t n) { return sms_try_send_record(s, bytes, n); }

static PyObject *core_send(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names) {
    long done = with_bytes((core *)self, only(args, n, names), write_some);
    return done >= 0 ? PyLong_FromLong(done) : slowly(self, "_send", args, n, names);
}

static PyObject *core_sendall(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names) {
    if (with_bytes((core *)self, only(args, n, names), write_all) < 0)
        return slowly(self, "_sendall", args, n, names);
    Py_RETURN_NONE;
}

static PyObject *core_send_record(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names) {
    if (with_bytes((core *)self, only(args, n, names), write_record) < 0)
        return slowly(self, "_send_record", args, n, names);
    Py_RETURN_NONE;
}

static PyObject *core_recv_record(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names) {
    sms_stream *s = reader((core *)self);
    if (s != NULL && n == 0 && names == NULL) {
        long len = sms_next_record(s);
        if (len >= 0 && len <= LONGEST) {
            PyObject *bytes = PyBytes_FromStringAndSize(NULL, len);
            long got = bytes == NULL ? -1 : sms_try_recv_record(s, PyBytes_AsString(bytes), (size_t)len);
            if (bytes == NULL || got == len)
                return bytes;
            /* The peer has changed the header meanwhile. A shorter record was received; a longer one is a lie. */
            if (got >= 0) {
                PyObject *fewer = PyBytes_FromStringAndSize(PyBytes_AsString(bytes), got);
                Py_DECREF(bytes);
                return fewer;
            }
            Py_DECREF(bytes);
        }
    }
    return slowly(self, "_recv_record", args, n, names);
}

static PyObject *core_recv_record_into(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names) {
    PyObject *into = only(args, n, names);
    if (into != NULL && reader((core *)self) != NULL) {
        Py_buffer b;
        long got = -1;
        if (PyObject_GetBuffer(into, &b, PyBUF_WRITABLE) == 0) {
            sms_stream *s = reader((core *)self);
            if (s != NULL)
                got = sms_try_recv_record(s, b.buf, (size_t)b.len < LONGEST ? (size_t)b.len : LONGEST);
            PyBuffer_Release(&b);
        } else {
            PyErr_Clear();
        }
        if (got >= 0)
            return PyLong_FromLong(got);
    }
    return slowly(self, "_recv_record_into", args, n, names);
}

/* The stream of which the address is given, until the same with 0; and whose turn it is. */
static PyObject *core_bind(PyObject *self, PyObject *args) {
    core *c = (core *)self;
    PyObject *address, *reading, *writing;
    void *s;
    if (!PyArg_ParseTuple(args, "OO!O!", &address, turn_type, &reading, turn_type, &writing))
        return NULL;
    s = PyLong_AsVoidPtr(address);
    if (s == NULL && PyErr_Occurred())
        return NULL;
    c->s = NULL;
    Py_INCREF(reading);
    Py_INCREF(writing);
    Py_XDECREF((PyObject *)c->reading);
    Py_XDECREF((PyObject *)c->writing);
    c->reading = (turn *)reading;
    c->writing = (turn *)writing;
    c->s = (sms_stream *)s;
    Py_RETURN_NONE;
}

static void core_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    core *c = (core *)self;
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    Py_XDECREF((PyObject *)c->reading);
    Py_XDECREF((PyObject *)c->writing);
    release(self);
    Py_DECREF((PyObject *)type);
}

static void turn_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF((PyObject *)type);
}

#define FAST METH_FASTCALL | METH_KEYWORDS
#define CALL(function) (PyCFunction)(void (*)(void)) function
static PyMethodDef core_methods[] = {
    {"recv", CALL(core_recv), FAST,
     "recv($self, bufsize, flags=0, /)\n--\n\nReads up to so many bytes, at least one; b\"\" is the end of the stream.\n\n"
     "Raises TimedOut, WouldBlock, PeerGone, Corrupt."},
    {"recv_into", CALL(core_recv_into), FAST,
     "recv_into($self, buffer, nbytes=0, flags=0)\n--\n\nReads into a buffer: at least one byte, or 0 at the end.\n\n"
     "Raises TimedOut, WouldBlock, PeerGone, Corrupt."},
    {"recv_exactly", CALL(core_recv_exactly), FAST,
     "recv_exactly($self, n)\n--\n\nReads so many bytes, each piece within the timeout.\n\n"
     "Raises EOFError, whose argument has what came, if the stream ends before."},
    {"send", CALL(core_send), FAST,
     "send($self, data, flags=0)\n--\n\nWrites as many bytes as there is room for, at least one.\n\n"
     "Raises TimedOut, WouldBlock, Closed, PeerGone, Corrupt."},
    {"sendall", CALL(core_sendall), FAST,
     "sendall($self, data, flags=0)\n--\n\nWrites all bytes, within the timeout. If it raises, an unknown part of them has been written."},
    {"send_record", CALL(core_send_record), FAST,
     "send_record($self, record)\n--\n\nSends a record, whole, within the timeout. If it raises, nothing was sent.\n\n"
     "For streams on which both sides send records and nothing else. Raises RecordTooLong, and what send raises."},
    {"recv_record", CALL(core_recv_record), FAST,
     "recv_record($self)\n--\n\nReceives the next record, which may be empty. None: no more come.\n\n"
     "Raises TimedOut, WouldBlock, PeerGone, Corrupt."},
    {"recv_record_into", CALL(core_recv_record_into), FAST,
     "recv_record_into($self, buffer)\n--\n\nReceives the next record into a buffer, and returns its length. None: no more come.\n\n"
     "Raises BufferTooSmall: then it stays."},
    {"_bind", core_bind, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot core_slots[] = {{Py_tp_methods, core_methods}, {Py_tp_dealloc, (void *)core_dealloc}, {0, NULL}};
static PyType_Spec core_spec = {"smstream._fast.Core", sizeof(core), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, core_slots};

static PyMemberDef turn_members[] = {
    {"taken", T_BOOL, offsetof(turn, taken), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot turn_slots[] = {{Py_tp_members, turn_members}, {Py_tp_dealloc, (void *)turn_dealloc}, {0, NULL}};
static PyType_Spec turn_spec = {"smstream._fast.Turn", sizeof(turn), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, turn_slots};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_fast", NULL, -1, NULL, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__fast(void) {
    PyObject *m = PyModule_Create(&module), *c, *t;
    if (m == NULL)
        return NULL;
    c = PyType_FromSpec(&core_spec);
    t = PyType_FromSpec(&turn_spec);
    if (c == NULL || t == NULL || PyModule_AddObject(m, "Core", c) < 0 || PyModule_AddObject(m, "Turn", t) < 0) {
        Py_DECREF(m);
        return NULL;
    }
    turn_type = (PyTypeObject *)t;
    Py_INCREF(t);
    return m;
}
