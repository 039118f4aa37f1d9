/* A party that uses the C library's calls: `party WHAT KEY`. It ends with 0 if all was as it should be. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <time.h>

union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
};

struct message {
    long type;
    char text[32];
};

static void need(int is_so, const char *what)
{
    if (!is_so) {
        fprintf(stderr, "party: %s (%s)\n", what, strerror(errno));
        exit(1);
    }
}

static void shm_make(key_t key)
{
    int id = shmget(key, 100, IPC_CREAT | IPC_EXCL | 0640);
    need(id != -1, "shmget");
    char *at = shmat(id, NULL, 0);
    need(at != (char *)-1, "shmat");
    strcpy(at, "from C");
    need(shmdt(at) == 0, "shmdt");
}

static void shm_use(key_t key)
{
    int id = shmget(key, 0, 0);
    need(id != -1, "shmget");
    struct shmid_ds ds;
    need(shmctl(id, IPC_STAT, &ds) == 0, "IPC_STAT");
    need(ds.shm_segsz == 100 && (ds.shm_perm.mode & 0777) == 0600 && ds.shm_nattch == 1, "what IPC_STAT says");
    char *at = shmat(id, NULL, 0);
    need(at != (char *)-1, "shmat");
    need(strcmp(at, "from Rust") == 0, "the text");
    strcpy(at, "and back");
    need(shmdt(at) == 0, "shmdt");
}

static void sem_make(key_t key)
{
    int id = semget(key, 3, IPC_CREAT | IPC_EXCL | 0640);
    need(id != -1, "semget");
    unsigned short values[3] = {0, 2, 3};
    union semun all = {.array = values};
    need(semctl(id, 0, SETALL, all) == 0, "SETALL");
    struct sembuf up = {0, 1, 0};
    need(semop(id, &up, 1) == 0, "semop");
}

/* Sets values without an operation, as many programs do. */
static void sem_plain(key_t key)
{
    int id = semget(key, 1, IPC_CREAT | IPC_EXCL | 0600);
    need(id != -1, "semget");
    union semun one = {.val = 5};
    need(semctl(id, 0, SETVAL, one) == 0, "SETVAL");
}

static void sem_use(key_t key)
{
    int id = semget(key, 0, 0);
    need(id != -1, "semget");
    struct semid_ds ds;
    union semun stat = {.buf = &ds};
    need(semctl(id, 0, IPC_STAT, stat) == 0, "IPC_STAT");
    need(ds.sem_nsems == 3 && ds.sem_otime != 0 && (ds.sem_perm.mode & 0777) == 0600, "what IPC_STAT says");
    unsigned short values[3];
    union semun all = {.array = values};
    need(semctl(id, 0, GETALL, all) == 0, "GETALL");
    need(values[0] == 4 && values[1] == 0 && values[2] == 6, "the values");
    /* Taken back when this process ends. */
    struct sembuf undone = {2, -6, SEM_UNDO};
    need(semop(id, &undone, 1) == 0, "semop with SEM_UNDO");
    /* Kept. */
    struct sembuf kept = {0, -1, IPC_NOWAIT};
    need(semop(id, &kept, 1) == 0, "semop");
    /* Waits for the other party. */
    struct sembuf wait = {1, -1, 0};
    need(semop(id, &wait, 1) == 0, "semop that waits");
}

static void msg_make(key_t key)
{
    int id = msgget(key, IPC_CREAT | IPC_EXCL | 0640);
    need(id != -1, "msgget");
    struct message m = {7, "from C"};
    need(msgsnd(id, &m, 6, 0) == 0, "msgsnd");
    m.type = 2;
    need(msgsnd(id, &m, 0, 0) == 0, "msgsnd of nothing");
}

static void msg_use(key_t key)
{
    int id = msgget(key, 0);
    need(id != -1, "msgget");
    struct msqid_ds ds;
    need(msgctl(id, IPC_STAT, &ds) == 0, "IPC_STAT");
    need(ds.msg_qnum == 2 && ds.msg_qbytes == 1000 && (ds.msg_perm.mode & 0777) == 0600, "what IPC_STAT says");
    struct message m;
    need(msgrcv(id, &m, sizeof m.text, -5, 0) == 9, "msgrcv of the lowest type");
    need(m.type == 3 && memcmp(m.text, "from Rust", 9) == 0, "the message");
    need(msgrcv(id, &m, sizeof m.text, 0, IPC_NOWAIT) == 0 && m.type == 9, "the empty message");
    need(msgrcv(id, &m, sizeof m.text, 4, 0) == 5 && memcmp(m.text, "later", 5) == 0, "a message to wait for");
}

static void wait_until_removed(key_t key)
{
    int id = semget(key, 0, 0);
    need(id != -1, "semget");
    struct sembuf down = {0, -1, 0};
    need(semop(id, &down, 1) == -1 && errno == EIDRM, "EIDRM");
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "ftok") == 0) {
        printf("%d\n", (int)ftok(argv[2], atoi(argv[3])));
        return 0;
    }
    need(argc == 3, "usage");
    static const struct {
        const char *name;
        void (*run)(key_t);
    } all[] = {
        {"shm_make", shm_make}, {"shm_use", shm_use}, {"sem_make", sem_make},
        {"sem_plain", sem_plain}, {"sem_use", sem_use}, {"msg_make", msg_make},
        {"msg_use", msg_use}, {"wait_until_removed", wait_until_removed},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(argv[1], all[i].name) == 0) {
            all[i].run((key_t)atoi(argv[2]));
            return 0;
        }
    need(0, "no such part");
}
