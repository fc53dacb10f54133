"""What the thousand kinds of things of ImageNet are called in a caption: an exact name, and more general ones.

The general names are our own table, by the numbers of the kinds: people say *bird* or *hat* before *dunlin* or
*sombrero*.
"""

from __future__ import annotations

from model.training.space.kinds import COUNT, kind_names

_BROADER = """
fish: 0-1 389-397 5-6
shark: 2-4
chicken: 7-8
bird: 7-24 80-100 127-146
duck: 97-98
owl: 24
eagle: 22
parrot: 87-90
swan: 100
peacock: 84
stork: 127-128
heron: 131-133
crane: 134 517
penguin: 145
salamander: 25-29
frog: 30-32
turtle: 33-37
lizard: 38-48
alligator: 49-50
crocodile: 49
dinosaur: 51
snake: 52-68
spider: 70 72-77 815
insect: 69 71 76 78-79 300-326
elephant: 101 385-386
kangaroo: 104
bear: 105 294-297 387-388 850
animal: 25-29 38-51 69-79 101-126 147-150 269-299 327-382 383-388
jellyfish: 107
snail: 113-115
crab: 118-121 125
lobster: 122-124
whale: 147-148
seal: 149-150
dog: 151-268 273-275
wolf: 269-271
fox: 277-280
cat: 281-285
leopard: 288-290
cheetah: 293
bug: 300-320
beetle: 300-307
butterfly: 321-326
rabbit: 330-332
squirrel: 335
horse: 339
pig: 341-343
cow: 345-347
sheep: 348-349
goat: 350
deer: 351-353
antelope: 351-353
camel: 354
monkey: 365-382
gorilla: 366
panda: 388
guitar: 402 546
plane: 404 895 908
airplane: 404 895
boat: 472 484 510 554 576 625 628 724 780 814 871 914 913 403
ship: 403 510 628 724 780 913
canoe: 472
blimp: 405
truck: 407 555 569 675 717 734 864 867 803
car: 436 468 511 609 627 656 661 751 817 734 407
van: 654 656 675 734
bus: 654 779 874
train: 466 547 565 705 820 829
trolley: 829 874
bicycle: 444 671 870 880
bike: 444 671
motorcycle: 665 670
scooter: 670 665
vehicle: 408 428 586 573 575 595 603 612 690 757 802 847 856 866 730
tractor: 595 730 856 866
cart: 428 573 575 690 791 603 612
carriage: 603 612
clock: 409 530 531 604 826 892 835
watch: 531
phone: 487 528 707 605
telephone: 528 707
computer: 508 527 590 620 664 673 681 782 592
laptop: 620 681
keyboard: 508 810 878
screen: 664 782 851 916
camera: 732 759
hat: 433 439 452 515 560 667 793 808 518 715
helmet: 518 560
shirt: 610 474 841 638
dress: 578 601 689 655
coat: 568 617 869 501
jacket: 474 568 617 869
robe: 399 400 614 887
costume: 614 735
shoe: 502 514 630 770 774
boot: 514
bag: 414 636 728 748 692 709
purse: 748
backpack: 414
cup: 504 572 968 441 647 505
mug: 504
coffee: 504 550 967 505
glass: 441 572 966
wine: 907 966
bottle: 440 720 737 898 907 711 503 901 899
beer: 440 441
bowl: 659 809 909 925 926 924 962
pot: 469 505 521 544 567 849 909 926 738
pan: 567 909
jug: 725 899 901 653
plate: 923 729
food: 924-927 933-935 959-965 962
cake: 927 962
bread: 930-932
sandwich: 933 934
fruit: 948-957
apple: 948
vegetable: 936-946 987
vegetables: 936-946 987
squash: 940-942
corn: 987
mushroom: 947 992-997
flower: 984-986
flowers: 984-986
pumpkin: 607
ice: 928-929
drink: 967 969 966 441
soup: 925 926 809
table: 532 736 526 846
chair: 423 559 765 857
bench: 703
couch: 831
bed: 516 520 564 431 750 669
crib: 520 516 431
shelf: 453 495 548 493 894 648 788
cabinet: 493 495 553 648 894 548
furniture: 493 495 526 548 553 894
lamp: 846 619 818
light: 818 846 619 862 607
box: 478 492 519 692 588
basket: 588 790
can: 412 653
bucket: 463
barrel: 427 756
door: 799 789
window: 904 905 789
curtain: 794 854 905
fence: 489 716 912
wall: 825 458
rug: 539 741
building: 410 415 425 442 449 483 497 498 580 624 663 668 698 727 743 762 582 832 853 860 449 467 454
church: 497 406 442 663 668
house: 425 448 449 500 660 853
store: 415 454 467 509 582 788 860 865
shop: 415 454 467 509 582 788 860 865 424
tower: 437 442 900 682
bridge: 821 839 888
tent: 672 915
ball: 429 430 522 574 722 768 805 852 890 746
baseball: 429 981
basketball: 430
drum: 541 822
piano: 579 881
violin: 889 486
cello: 486
flute: 558 683 699
trumpet: 513 566
instrument: 401 402 420 432 486 513 541 546 558 566 577 579 593 594 641 642 683 684 687 699 776 822 875 881 889 494
accordion: 401
saxophone: 776
gun: 413 763 764 597
rifle: 413 764
sword: 777 623
knife: 499 623 596
axe: 596
hammer: 587
tool: 477 499 512 587 596 726 740 784 792 731 813 695 473 783 677
shovel: 792
broom: 462 840
stick: 542 752
racket: 752
bow: 456 457
tie: 451 457 906
scarf: 552 824
necklace: 679
mask: 570 643 691 796
glasses: 836 837
sunglasses: 836 837
swimsuit: 445 638 639
bikini: 445
shorts: 842
trunks: 842
pants: 608
jeans: 608
uniform: 652 638
suit: 834 982
gloves: 658
socks: 806
diaper: 529
towel: 434 533 700
pillow: 721
blanket: 750 741
stove: 827
oven: 651 827 766
microwave: 651
refrigerator: 760
sink: 896
toilet: 861 999
bathtub: 435 876
tub: 435 876
shower: 794
toaster: 859
washer: 534 897
machine: 480 550 571 786 800 886 897 713 742 704 856 595
radio: 754 482 485 848
speaker: 632
tv: 851 598 548
television: 851 598
monitor: 664 782
printer: 742 713
sign: 919 458
mailbox: 637
pole: 557 733 863
flag: 557
fountain: 562
umbrella: 879
balloon: 417
parachute: 701
kite: 21
toy: 723 850 865 611
candle: 470
stroller: 428
wheel: 479 694 739
hay: 958
mountain: 970 979 980
cliff: 972 976 500
beach: 975 977 978 976
ocean: 973 977 978 975
water: 460 535 536 900 974 975
lake: 975
dock: 536 718 460
pier: 718
coral: 109 973
book: 917 921 922 918 446
pen: 418 563 749
paper: 549 692 700 922 918 999
player: 981
groom: 982
diver: 983
man: 981-983
maze: 646
cross: 918
web: 815
statue: 863 682 649
plant: 984-985 990 998 987 738
nut: 988 990
stage: 819
ski: 795
skis: 795
sled: 450 537
swing: 843
bar: 602 702 416
weight: 422 543
weights: 422 543
"""
_EXACT = {
    21: "kite",
    97: "duck",
    133: "bittern",
    134: "crane",
    268: "mexican hairless dog",
    271: "red wolf",
    281: "tabby cat",
    282: "tabby cat",
    312: "cricket",
    339: "horse",
    348: "ram",
    352: "impala",
    389: "snoek",
    392: "rock beauty",
    395: "gar",
    404: "airplane",
    412: "trash can",
    419: "band aid",
    421: "handrail",
    425: "barn",
    439: "bearskin hat",
    449: "boathouse",
    458: "plaque",
    466: "train",
    478: "cardboard box",
    480: "atm",
    494: "wind chime",
    506: "spiral",
    508: "keyboard",
    521: "slow cooker",
    528: "telephone",
    547: "train",
    548: "entertainment center",
    570: "gas mask",
    605: "ipod",
    610: "t-shirt",
    612: "rickshaw",
    620: "laptop",
    632: "speaker",
    638: "leotard",
    664: "monitor",
    666: "mortar and pestle",
    673: "computer mouse",
    677: "nail",
    678: "neck brace",
    681: "laptop",
    687: "organ",
    692: "packet",
    705: "train car",
    716: "picket fence",
    720: "pill bottle",
    738: "flower pot",
    744: "missile",
    752: "racket",
    769: "ruler",
    779: "school bus",
    782: "monitor",
    789: "shoji screen",
    796: "ski mask",
    810: "keyboard",
    820: "steam train",
    825: "stone wall",
    829: "tram",
    834: "suit",
    836: "sunglasses",
    842: "swim trunks",
    878: "typewriter",
    884: "vaulted ceiling",
    885: "velvet",
    890: "volleyball",
    908: "airplane wing",
    911: "wool",
    914: "yawl",
    919: "street sign",
    924: "guacamole",
    941: "acorn squash",
    956: "custard apple",
    994: "stinkhorn",
    995: "earthstar",
    996: "mushroom",
    998: "ear of corn",
}
"""Where the first name of a kind is not what people call it."""
PLAIN = ("dog", "cat", "horse")
"""General names that people say even if they know better."""


def names_of_kinds() -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """For each kind its exact name, and its general names, the nearest first; all in lower case."""
    broader: list[list[str]] = [[] for _ in range(COUNT)]
    word = ""
    for line in _BROADER.strip().splitlines():
        head, colon, rest = line.rpartition(":")
        word = head.strip() if colon else word
        for part in rest.split():
            first, _, last = part.partition("-")
            for kind in range(int(first), int(last or first) + 1):
                broader[kind].append(word)
    exact = [_EXACT.get(kind, names[0]).lower() for kind, names in enumerate(kind_names())]
    return tuple(exact), tuple(
        tuple(word for word in words if word != name) for name, words in zip(exact, broader, strict=True)
    )
