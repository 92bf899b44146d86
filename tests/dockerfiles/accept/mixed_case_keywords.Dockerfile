From scratch As base
FrOm BASE
