"""What the compiled module has of the C header."""
import re
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
HEADER = (HERE / "smstream.h").read_text()
# The codes of errors, from the header's own table.
CODES = re.findall(r"X\((SMS_E\w+), (-\d+), \"(\w+)\"", HEADER)

ffi = FFI()
ffi.cdef(
    """
    typedef struct sms_stream { ...; } sms_stream;
    typedef struct sms_listener sms_listener;
    typedef struct sms_err { int code; int sys; char text[320]; } sms_err;
    typedef unsigned int uid_t;
    typedef struct sms_options {
        uint32_t capacity[2]; uint32_t max_capacity; uint32_t start; bool allow_any; const uid_t *allow; size_t allowed;
        int handshake_ms; bool propose; bool records; ...;
    } sms_options;
    struct ucred { int pid; unsigned int uid; unsigned int gid; ...; };

    #define SMS_READS ...
    #define SMS_WRITES ...

    const char *sms_error_name(int code);
    const char *sms_strerror(int code);
    sms_options sms_options_default(void);
    sms_stream *sms_connect(const char *address, const sms_options *options, int timeout_ms, sms_err *err);
    sms_listener *sms_listen(const char *address, const sms_options *options, sms_err *err);
    sms_stream *sms_accept(sms_listener *l, int timeout_ms, sms_err *err);
    int sms_listener_fd(const sms_listener *l);
    void sms_listener_close(sms_listener *l);
    int sms_attach(sms_stream *s, void *mine, size_t mine_len, const void *peer, size_t peer_len);
    long sms_read(sms_stream *s, void *buffer, size_t len, int timeout_ms);
    long sms_write(sms_stream *s, const void *bytes, size_t len, int timeout_ms);
    long sms_try_read(sms_stream *s, void *buffer, size_t len);
    long sms_try_write(sms_stream *s, const void *bytes, size_t len);
    long sms_wait_bytes(sms_stream *s, size_t want, int timeout_ms);
    long sms_wait_room(sms_stream *s, size_t want, int timeout_ms);
    int sms_peek(sms_stream *s, const void **bytes, size_t *n);
    int sms_consume(sms_stream *s, size_t n);
    int sms_reserve(sms_stream *s, void **bytes, size_t *n);
    int sms_commit(sms_stream *s, size_t n);
    bool sms_peer_has_records(const sms_stream *s);
    size_t sms_max_record(const sms_stream *s);
    int sms_try_send_record(sms_stream *s, const void *record, size_t len);
    int sms_send_record(sms_stream *s, const void *record, size_t len, int timeout_ms);
    long sms_next_record(sms_stream *s);
    long sms_try_recv_record(sms_stream *s, void *buffer, size_t size);
    long sms_wait_record(sms_stream *s, int timeout_ms);
    long sms_skip_record(sms_stream *s);
    int sms_shutdown(sms_stream *s, int halves);
    void sms_close(sms_stream *s);
    void sms_abort(sms_stream *s);
    void sms_forget(sms_stream *s);
    void sms_cancel(sms_stream *s);
    void sms_set_spin(sms_stream *s, uint32_t us);
    int sms_fd(const sms_stream *s);
    int sms_arm(sms_stream *s, int halves);
    bool sms_peer_gone(sms_stream *s);
    int sms_peer_credentials(const sms_stream *s, struct ucred *who);

    uint32_t sms_diff(uint32_t a, uint32_t b);
    bool sms_ahead(uint32_t park, uint32_t cursor, uint32_t capacity);
    bool sms_crossed(uint32_t park, uint32_t old, uint32_t now, bool last, uint32_t capacity);
    uint32_t sms_asleep_at(uint32_t cursor, uint32_t ahead);
    bool sms_accept_sent(uint32_t last, uint32_t now, uint32_t my_received, uint32_t capacity);
    bool sms_accept_received(uint32_t last, uint32_t now, uint32_t my_sent);
    """
    + "\n".join(f"#define {code} {number}" for code, number, _ in CODES)
)
ffi.set_source(
    "smstream._smstream",
    '#include "smstream.h"\n',
    include_dirs=[str(HERE)],
    depends=[str(HERE / "smstream.h")],
    extra_compile_args=["-std=c11", "-O2"],
    define_macros=[("_GNU_SOURCE", "1"), ("_FILE_OFFSET_BITS", "64")],
)

if __name__ == "__main__":
    ffi.compile(verbose=True)
