// TCP / HTTP CONNECT load generator, epoll, one thread per role (the target is a forked child).
// tload target PORT            echo on PORT..PORT+3, source (endless data after the first byte) on PORT+4
// tload churn|bulk|idle -p PROXYPORT (0 = direct) -T TARGETPORT [-c concurrency|tunnels] [-t seconds] [-r tunnels/s, churn only] [-H HOST]
// churn: connect, CONNECT, one echo of the first bytes (16, or with -H a ClientHello), close.  prints one JSON line.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <time.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
static long now(){struct timespec t;clock_gettime(CLOCK_MONOTONIC,&t);return t.tv_sec*1000000000L+t.tv_nsec;}
static char big[256<<10];
// Any address: a proxy that is to be measured may refuse to connect to the machine's own.
static int lst(int port){int s=socket(AF_INET,SOCK_STREAM|SOCK_NONBLOCK,0),one=1;setsockopt(s,SOL_SOCKET,SO_REUSEADDR,&one,sizeof one);struct sockaddr_in a={.sin_family=AF_INET,.sin_port=htons(port),.sin_addr.s_addr=htonl(INADDR_ANY)};if(bind(s,(void*)&a,sizeof a)||listen(s,4096)){perror("listen");exit(1);}return s;}
static void target(int port){ int ep=epoll_create1(0); int L[5]; static char kind[65536]; 
  for(int i=0;i<5;i++){L[i]=lst(port+i);struct epoll_event e={EPOLLIN,{.fd=L[i]}};epoll_ctl(ep,EPOLL_CTL_ADD,L[i],&e);}
  struct epoll_event ev[256]; char b[4096];
  for(;;){int n=epoll_wait(ep,ev,256,-1); for(int i=0;i<n;i++){int fd=ev[i].data.fd; int l=-1; for(int k=0;k<5;k++)if(L[k]==fd)l=k;
    if(l>=0){int c; while((c=accept4(fd,0,0,SOCK_NONBLOCK))>=0){ if(c>=65536){close(c);continue;} int one=1;setsockopt(c,IPPROTO_TCP,TCP_NODELAY,&one,sizeof one);kind[c]=l==4?1:0;struct epoll_event e={EPOLLIN,{.fd=c}};epoll_ctl(ep,EPOLL_CTL_ADD,c,&e);} continue;}
    if(kind[fd]==0){int r=recv(fd,b,sizeof b,0); if(r>0)send(fd,b,r,MSG_NOSIGNAL); else if(r==0||errno!=EAGAIN)close(fd);}
    else { if(ev[i].events&(EPOLLIN|EPOLLHUP|EPOLLERR)){int r=recv(fd,b,sizeof b,0); if(r==0||(r<0&&errno!=EAGAIN)){close(fd);continue;} if(r>0&&kind[fd]==1){kind[fd]=2;struct epoll_event e={EPOLLIN|EPOLLOUT,{.fd=fd}};epoll_ctl(ep,EPOLL_CTL_MOD,fd,&e);} }
      if(kind[fd]==2&&(ev[i].events&EPOLLOUT)){int r=send(fd,big,sizeof big,MSG_NOSIGNAL); if(r<0&&errno!=EAGAIN){close(fd);kind[fd]=0;}} }
  }} }
static int proxy,tp=9000,N=32; static double T=5; static long rate;
// first bytes in the tunnel: 16 bytes, or with -H HOST a TLS ClientHello whose SNI is HOST (and CONNECT goes to HOST)
static const char*host="127.0.0.1"; static char first[512]="hello-hello-hell"; static int fl=16;
static void put(int*n,int v,int w){while(w--)first[(*n)++]=v>>(8*w);}
static void hello(const char*h){ int l=strlen(h),n=0; char*p=first; put(&n,0x160301,3); int rec=n; put(&n,0,2); put(&n,1,1); int hs=n; put(&n,0,3); put(&n,0x0303,2); for(int i=0;i<32;i++)p[n++]=i; put(&n,0,1); put(&n,2,2); put(&n,0x1301,2); put(&n,0x0100,2); int ex=n; put(&n,0,2);
  put(&n,0,2); put(&n,l+5,2); put(&n,l+3,2); put(&n,0,1); put(&n,l,2); memcpy(p+n,h,l); n+=l;   // server_name
  put(&n,0x2b,2); put(&n,3,2); put(&n,0x020304,3);                                             // supported_versions: 1.3
  put(&n,0x0a,2); put(&n,4,2); put(&n,0x0002001d,4); put(&n,0x0d,2); put(&n,4,2); put(&n,0x00020403,4); // groups, signature algorithms
  put(&n,0x33,2); put(&n,38,2); put(&n,36,2); put(&n,0x001d0020,4); for(int i=0;i<32;i++)p[n++]=i+1;  // key_share
  int e=n; n=rec; put(&n,e-rec-2,2); n=hs; put(&n,e-hs-3,3); n=ex; put(&n,e-ex-2,2); fl=e; }
struct C{int fd,st; long t0; char buf[1024]; int n;};
static struct C*cs; static int ep; static unsigned long seq; static char req[4][256];
static long*lat,*lat2; static long nl,nl2; static int cmp(const void*a,const void*b){long x=*(long*)a,y=*(long*)b;return x<y?-1:x>y;}
static void dial(struct C*c,long t0){ int s=socket(AF_INET,SOCK_STREAM|SOCK_NONBLOCK,0),one=1; setsockopt(s,IPPROTO_IP,IP_BIND_ADDRESS_NO_PORT,&one,sizeof one); setsockopt(s,IPPROTO_TCP,TCP_NODELAY,&one,sizeof one);
  struct sockaddr_in a={.sin_family=AF_INET,.sin_addr.s_addr=htonl(0x7f000002+seq%8)}; bind(s,(void*)&a,sizeof a);
  a.sin_addr.s_addr=htonl(INADDR_LOOPBACK); a.sin_port=htons(proxy?proxy:tp+(int)(seq%4)); c->fd=s;c->st=0;c->n=0;c->t0=t0; connect(s,(void*)&a,sizeof a);
  struct epoll_event e={EPOLLOUT,{.ptr=c}}; epoll_ctl(ep,EPOLL_CTL_ADD,s,&e); }
int main(int ac,char**av){ 
  if(!strcmp(av[1],"target")){target(atoi(av[2]));}
  int o,mode=!strcmp(av[1],"churn")?0:!strcmp(av[1],"bulk")?1:2; optind=2; while((o=getopt(ac,av,"p:T:c:t:r:H:"))>0)switch(o){case'p':proxy=atoi(optarg);break;case'T':tp=atoi(optarg);break;case'c':N=atoi(optarg);break;case't':T=atof(optarg);break;case'r':rate=atol(optarg);break;case'H':host=optarg;hello(optarg);break;}
  for(int i=0;i<4;i++)snprintf(req[i],sizeof req[i],"CONNECT %s:%d HTTP/1.1\r\nHost: %s:%d\r\n\r\n",host,mode==1?tp+4:tp+i,host,mode==1?tp+4:tp+i);
  if(mode){ // blocking set-up
    int*f=calloc(N,sizeof(int)); long t0=now(); int bad=0;
    for(int i=0;i<N;i++){int s=socket(AF_INET,SOCK_STREAM,0);struct sockaddr_in a={.sin_family=AF_INET,.sin_addr.s_addr=htonl(INADDR_LOOPBACK),.sin_port=htons(proxy?proxy:mode==1?tp+4:tp+i%4)}; f[i]=s; struct timeval tv={5,0}; setsockopt(s,SOL_SOCKET,SO_RCVTIMEO,&tv,sizeof tv); if(connect(s,(void*)&a,sizeof a)){bad++;continue;}
      if(proxy){send(s,req[i%4],strlen(req[i%4]),0);char b[1024];int n=0;while(n<1020){int r=recv(s,b+n,1,0);if(r<=0){bad++;break;}n+=r;if(n>=4&&!memcmp(b+n-4,"\r\n\r\n",4))break;} if(n<12||memcmp(b+9,"200",3))bad++;} 
      if(mode==2){char b[512];send(s,first,fl,0);int n=0;while(n<fl){int r=recv(s,b,fl-n,0);if(r<=0){bad++;break;}n+=r;}} }
    if(mode==2){printf("{\"open\":%d,\"bad\":%d,\"setup_s\":%.2f}\n",N-bad,bad,(now()-t0)/1e9);fflush(stdout);usleep(T*1e6);return 0;}
    ep=epoll_create1(0); for(int i=0;i<N;i++){send(f[i],first,fl,0);struct epoll_event e={EPOLLIN,{.fd=f[i]}};epoll_ctl(ep,EPOLL_CTL_ADD,f[i],&e);}
    struct epoll_event ev[64]; long bytes=0; t0=now(); long end=t0+T*1e9,t; while((t=now())<end){int n=epoll_wait(ep,ev,64,100);for(int i=0;i<n;i++){long r=recv(ev[i].data.fd,big,sizeof big,MSG_DONTWAIT|MSG_TRUNC);if(r>0)bytes+=r;else if(r==0)epoll_ctl(ep,EPOLL_CTL_DEL,ev[i].data.fd,0);}}
    printf("{\"gbit\":%.3f,\"bytes\":%ld,\"bad\":%d}\n",bytes*8/((t-t0)/1e9)/1e9,bytes,bad); return 0; }
  ep=epoll_create1(0); cs=calloc(N,sizeof*cs); lat=malloc(80000000);lat2=malloc(80000000); long t0=now(),end=t0+T*1e9,done=0,err=0; int*fr=calloc(N,sizeof(int)),nf=0; long due=0;
  if(!rate)for(int i=0;i<N;i++){seq++;dial(&cs[i],now());} else for(int i=0;i<N;i++)fr[nf++]=i;
  struct epoll_event ev[256]; long t; while((t=now())<end){ 
    if(rate){ while(t>=t0+(long)(due*1e9/rate)&&nf){int i=fr[--nf];seq++;dial(&cs[i],t0+(long)(due*1e9/rate));due++;} }
    int n=epoll_wait(ep,ev,256,rate?0:100); for(int i=0;i<n;i++){struct C*c=ev[i].data.ptr; int fin=0,bad=0; unsigned long k=(c-cs); (void)k;
      if(c->st==0){ int e=0;socklen_t l=sizeof e;getsockopt(c->fd,SOL_SOCKET,SO_ERROR,&e,&l); if(e){bad=fin=1;} else { struct epoll_event x={EPOLLIN,{.ptr=c}};epoll_ctl(ep,EPOLL_CTL_MOD,c->fd,&x); if(proxy){int q=(c-cs)%4;send(c->fd,req[q],strlen(req[q]),MSG_NOSIGNAL);c->st=1;} else {send(c->fd,first,fl,MSG_NOSIGNAL);c->st=2;c->n=0;} } }
      else if(c->st==1){ int r=recv(c->fd,c->buf+c->n,1000-c->n,0); if(r<=0){bad=fin=1;} else {c->n+=r; if(c->n>=4&&!memcmp(c->buf+c->n-4,"\r\n\r\n",4)){ if(memcmp(c->buf+9,"200",3))bad=fin=1; else {if(nl<10000000)lat[nl++]=now()-c->t0; send(c->fd,first,fl,MSG_NOSIGNAL);c->st=2;c->n=0;} } } }
      else { int r=recv(c->fd,c->buf,512,0); if(r<=0)bad=fin=1; else {c->n+=r; if(c->n>=fl){fin=1;if(nl2<10000000)lat2[nl2++]=now()-c->t0;}} }
      if(fin){ close(c->fd); if(bad)err++; else done++; if(rate)fr[nf++]=c-cs; else {seq++;dial(c,now());} } } }
  double el=(t-t0)/1e9; qsort(lat,nl,8,cmp);qsort(lat2,nl2,8,cmp);
  #define Q(a,n,x) (n?a[(long)((n-1)*(x))]/1000.0:0)
  printf("{\"tps\":%.0f,\"done\":%ld,\"err\":%ld,\"est_p50\":%.1f,\"est_p99\":%.1f,\"full_p50\":%.1f,\"full_p99\":%.1f}\n",done/el,done,err,Q(lat,nl,.5),Q(lat,nl,.99),Q(lat2,nl2,.5),Q(lat2,nl2,.99)); }
