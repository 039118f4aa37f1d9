{ A party that uses the unit ipc of Free Pascal: `sysv WHAT [ARGUMENTS]`, on the keys of the current directory, with
  segments of 100 bytes, members that begin with 5, and messages that are strings of 256 bytes. }
program sysv;

{$mode objfpc}

uses ipc, baseunix;

const
  Here = '.'#0;
  Size = 100;
  Everybody = 438; { rw-rw-rw- }

type
  TText = record
    mtype: clong;
    mtext: string[255];
  end;

procedure Need(IsSo: boolean; const What: string);
begin
  if IsSo then exit;
  writeln(stderr, 'sysv.pas: ', What, ': errno ', fpgeterrno);
  halt(1);
end;

function KeyOf(Letter: char): TKey;
begin
  KeyOf := ftok(@Here[1], ord(Letter));
end;

function Number(Index: integer): longint;
var
  Code: integer;
begin
  val(paramstr(Index), Number, Code);
  Need(Code = 0, 'not a number: ' + paramstr(Index));
end;

function Segment(Flags: longint): longint;
begin
  Segment := shmget(KeyOf('S'), Size, Flags);
  Need(Segment <> -1, 'shmget');
end;

procedure Memory(const What: string);
var
  At: pchar;
  I: integer;
  Text: string;
  Data: TSHMid_ds;
begin
  if What = 'shm-write' then
  begin
    At := shmat(Segment(IPC_CREAT or Everybody), nil, 0);
    Need(ptruint(At) <> high(ptruint), 'shmat');
    Text := paramstr(2);
    for I := 1 to length(Text) do At[I - 1] := Text[I];
    At[length(Text)] := #0;
    Need(shmdt(At) = 0, 'shmdt');
  end
  else if What = 'shm-read' then
  begin
    At := shmat(Segment(0), nil, SHM_RDONLY);
    Need(ptruint(At) <> high(ptruint), 'shmat');
    writeln(At);
    Need(shmdt(At) = 0, 'shmdt');
  end
  else if What = 'shm-stat' then
  begin
    Need(shmctl(Segment(0), IPC_STAT, @Data) = 0, 'IPC_STAT');
    writeln(Data.shm_segsz, ' ', Data.shm_perm.mode, ' ', Data.shm_nattch);
  end
  else if What = 'shm-mode' then
  begin
    Need(shmctl(Segment(0), IPC_STAT, @Data) = 0, 'IPC_STAT');
    Data.shm_perm.mode := Number(2);
    Need(shmctl(Segment(0), IPC_SET, @Data) = 0, 'IPC_SET');
  end
  else
    Need(shmctl(Segment(0), IPC_RMID, nil) = 0, 'IPC_RMID');
end;

function SetOf(Count, Flags: longint): longint;
begin
  SetOf := semget(KeyOf('s'), Count, Flags);
  Need(SetOf <> -1, 'semget');
end;

procedure Semaphores(const What: string);
var
  Argument: TSEMun;
  Op: TSEMbuf;
  ID, I: longint;
begin
  if What = 'sem-create' then
  begin
    ID := SetOf(Number(2), IPC_CREAT or IPC_EXCL or Everybody);
    Argument.val := 5;
    for I := 0 to Number(2) - 1 do Need(semctl(ID, I, SEM_SETVAL, Argument) <> -1, 'SETVAL');
  end
  else if What = 'sem-op' then
  begin
    Op.sem_num := Number(2);
    Op.sem_op := Number(3);
    Op.sem_flg := 0;
    Need(semop(SetOf(0, 0), @Op, 1) = 0, 'semop');
  end
  else if What = 'sem-value' then
  begin
    Argument.val := 0;
    writeln(semctl(SetOf(0, 0), Number(2), SEM_GETVAL, Argument));
  end
  else
  begin
    Argument.val := 0;
    Need(semctl(SetOf(0, 0), 0, IPC_RMID, Argument) <> -1, 'IPC_RMID');
  end;
end;

procedure Messages(const What: string);
var
  ID: longint;
  Buffer: TText;
begin
  ID := msgget(KeyOf('M'), IPC_CREAT or Everybody);
  Need(ID <> -1, 'msgget');
  if What = 'msg-send' then
  begin
    Buffer.mtype := Number(2);
    Buffer.mtext := paramstr(3);
    Need(msgsnd(ID, PMSGbuf(@Buffer), 256, 0) <> -1, 'msgsnd');
  end
  else if What = 'msg-receive' then
  begin
    Need(msgrcv(ID, PMSGbuf(@Buffer), 256, Number(2), 0) <> -1, 'msgrcv');
    writeln(Buffer.mtype, ' ', Buffer.mtext);
  end
  else
    Need(msgctl(ID, IPC_RMID, nil) <> -1, 'IPC_RMID');
end;

begin
  case copy(paramstr(1), 1, 4) of
    'shm-': Memory(paramstr(1));
    'sem-': Semaphores(paramstr(1));
    'msg-': Messages(paramstr(1));
  else
    Need(false, 'no such part');
  end;
end.
